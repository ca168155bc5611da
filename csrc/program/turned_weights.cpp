#include "program/turned_weights.hpp"

#include <algorithm>

namespace thalweg {

TurnedWeights::TurnedWeights(const Parameter& whole, const ParameterPlan& plan, DType dtype)
    : whole_(whole), plan_(plan), dtype_(dtype), ld_(leading_dimension(std::max(plan.inputs, plan.outputs), dtype)),
      arena_(new Arena((plan.outputs + 1) * ld_ * size_of(dtype))) {}

Parameter TurnedWeights::parameter() const {
  Parameter turned = whole_;
  turned.w = arena_->data();
  turned.ld = ld_;
  turned.bias_row = plan_.outputs;
  return turned;
}

void TurnedWeights::move(bool in) const { dtype_ == DType::f32 ? move<float>(in) : move<double>(in); }

template <class T>
void TurnedWeights::move(bool in) const {
  T *w_io = static_cast<T*>(whole_.w), *w_oi = reinterpret_cast<T*>(arena_->data());
  const auto copy = [in](T& whole, T& turned) { in ? turned = whole : whole = turned; };
  for (Index o = 0; o < plan_.outputs; ++o) {
    for (Index i = 0; i < plan_.inputs; ++i) copy(w_io[i * whole_.ld + o], w_oi[o * ld_ + i]);
    if (plan_.bias) copy(w_io[plan_.inputs * whole_.ld + o], w_oi[plan_.outputs * ld_ + o]);
  }
}

}  // namespace thalweg

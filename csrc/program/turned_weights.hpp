// A narrow layer's weights, turned (kernels/turned.hpp), in memory of their own for the length of a slice.
#pragma once

#include <memory>

#include "base/arena.hpp"
#include "kernels/table.hpp"
#include "program/plan.hpp"

namespace thalweg {

class TurnedWeights {
 public:
  // `whole`: where the parameter lies.
  TurnedWeights(const Parameter& whole, const ParameterPlan& plan, DType dtype);

  // The parameter as kernels are to see it: rows are units, then one row of biases.
  Parameter parameter() const;

  void take() const { move(true); }
  void give() const { move(false); }

 private:
  void move(bool in) const;
  template <class T>
  void move(bool in) const;

  Parameter whole_;
  ParameterPlan plan_;
  DType dtype_;
  Index ld_;
  std::unique_ptr<Arena> arena_;
};

}  // namespace thalweg

// Applying an update rule (rules.hpp): with what comes before and after it, over rows and columns, and chosen by name.
#pragma once

#include "kernels/rules.hpp"
#include "kernels/table.hpp"

namespace thalweg::THALWEG_ISA {

// A rule with what comes before and after it: see Parameter in arguments.hpp.
template <template <class> class RuleOf, class T, bool averaged>
struct Regulated {
  using R = RuleOf<T>;
  static constexpr int slots = R::slots + averaged;
  R rule;
  Vec<T> scale, clip, l1, twice_l2, share;
  Regulated(const Regulation& of, const double* s)
      : rule(of.decay ? s : s + R::scalars), scale(set(T(s[2 * R::scalars]))), clip(set(T(s[2 * R::scalars + 1]))),
        l1(set(T(of.l1))), twice_l2(set(T(2 * of.l2))), share(set(T(s[2 * R::scalars + 2]))) {}
  void operator()(Vec<T>& w, Vec<T> g, Vec<T>* state) const {
    const Vec<T> zero = set(T(0)), sign = select(w == zero, zero, copy_sign(l1, w));
    g = fma(twice_l2, w, fma(scale, g, sign));
    rule(w, min(clip, max(zero - clip, g)), state);
    if constexpr (averaged) state[R::slots] = fma(share, w - state[R::slots], state[R::slots]);
  }
};

// rule on one vector of a parameter, from element `at` on, or on its first n elements, with gradient g.
template <bool whole, class R, class T>
[[gnu::always_inline]] inline void apply_vector(const R& rule, const Parameter& p, Index at, Vec<T> g,
                                                Index n = Vec<T>::lanes) {
  const auto get = [=](const void* from) {
    const T* v = static_cast<const T*>(from) + at;
    return whole ? load(v) : load_first(v, n);
  };
  const auto put = [=](void* to, Vec<T> v) {
    if constexpr (whole) store(static_cast<T*>(to) + at, v);
    else store_first(static_cast<T*>(to) + at, v, n);
  };
  Vec<T> w = get(p.w), state[R::slots + 1];
#pragma GCC unroll 4
  for (int s = 0; s < R::slots; ++s) state[s] = get(p.slots[s]);
  rule(w, g, state);
#pragma GCC unroll 4
  for (int s = 0; s < R::slots; ++s) put(p.slots[s], state[s]);
  put(p.w, w);
}

// rule over rows and columns of a parameter, with the gradient g_rc (leading dimension g_ld) of the same rows and
// columns. Columns need not be whole vectors: a caller's own arrays have no pads.
template <class R, class T>
void apply_rows(const R& of_step, const Parameter& of_caller, const T* g, Index g_ld, Range rows, Range columns) {
  const R rule = of_step;  // copies of our own, which no store can change: they stay in registers
  const Parameter p = of_caller;
  const Index n = columns.end - columns.begin, whole = n / Vec<T>::lanes * Vec<T>::lanes;
  for (Index r = rows.begin; r < rows.end; ++r, g += g_ld) {
    const Index at = r * p.ld + columns.begin;
    for (Index c = 0; c < whole; c += Vec<T>::lanes) apply_vector<true>(rule, p, at + c, load(g + c));
    if (whole < n) apply_vector<false>(rule, p, at + whole, load_first(g + whole, n - whole), n - whole);
  }
}

// Calls body(rule) with a parameter's rule for this step, for its rows of weights or (offset) its row of bias.
template <template <class> class RuleOf, class T, class Body>
void with_rule(const Parameter& p, const double* scalars, bool offset, Body&& body) {
  const Regulation& of = offset ? p.offset : p.weight;
  if (!p.regulated) return body(RuleOf<T>(scalars));
  if (p.averaged) return body(Regulated<RuleOf, T, true>(of, scalars));
  body(Regulated<RuleOf, T, false>(of, scalars));
}

template <class T, class Body>
void with_rule(Rule rule, const Parameter& p, const double* scalars, bool offset, Body&& body) {
  switch (rule) {
    case Rule::none: return;
    case Rule::sgd: return with_rule<Sgd, T>(p, scalars, offset, body);
    case Rule::momentum: return with_rule<Momentum, T>(p, scalars, offset, body);
    case Rule::adam: return with_rule<Adam, T>(p, scalars, offset, body);
    case Rule::amsgrad: return with_rule<AmsGrad, T>(p, scalars, offset, body);
    case Rule::rmsprop: return with_rule<Rmsprop, T>(p, scalars, offset, body);
    case Rule::rmsprop_centered: return with_rule<RmspropCentered, T>(p, scalars, offset, body);
    case Rule::rmsprop_momentum: return with_rule<RmspropMomentum, T>(p, scalars, offset, body);
    case Rule::rmsprop_centered_momentum: return with_rule<RmspropCenteredMomentum, T>(p, scalars, offset, body);
    case Rule::adagrad: return with_rule<Adagrad, T>(p, scalars, offset, body);
    case Rule::adadelta: return with_rule<Adadelta, T>(p, scalars, offset, body);
    case Rule::adamax: return with_rule<Adamax, T>(p, scalars, offset, body);
    case Rule::nadam: return with_rule<Nadam, T>(p, scalars, offset, body);
    case Rule::rprop: return with_rule<Rprop, T>(p, scalars, offset, body);
    case Rule::lion: return with_rule<Lion, T>(p, scalars, offset, body);
    case Rule::schedule_free: return with_rule<ScheduleFree, T>(p, scalars, offset, body);
  }
}

template <class T>
void apply(Rule rule, const Parameter& p, const T* g, Index g_ld, const double* scalars, Range rows, Range columns) {
  const Index cut = rows.end < p.bias_row ? rows.end : rows.begin > p.bias_row ? rows.begin : p.bias_row;
  if (rows.begin < cut)
    with_rule<T>(rule, p, scalars, false, [&](const auto& r) { apply_rows(r, p, g, g_ld, {rows.begin, cut}, columns); });
  if (rows.end == cut) return;
  g += (cut - rows.begin) * g_ld;
  with_rule<T>(rule, p, scalars, true, [&](const auto& r) { apply_rows(r, p, g, g_ld, {cut, rows.end}, columns); });
}

// How many elements lie before the next boundary of a vector.
template <class T>
Index before_boundary(const T* p) {
  return static_cast<Index>(-reinterpret_cast<std::uintptr_t>(p) % THALWEG_VECTOR_BYTES / sizeof(T));
}

// A caller's own arrays begin anywhere, NumPy's large ones all 16 bytes behind a boundary: a first piece ends where no
// vector of w lies in two cache lines any more.
template <class T>
void update(const Update& u) noexcept {
  const Parameter& p = u.parameter;
  const Index row = u.rows.begin * p.ld, begin = u.columns.begin, end = u.columns.end;
  const Index cut = smaller(end, begin + before_boundary(static_cast<const T*>(p.w) + row + begin));
  const auto apply_to = [&](Range columns) {
    apply(u.rule, p, static_cast<const T*>(p.g) + row + columns.begin, p.ld, u.scalars, u.rows, columns);
  };
  if (begin < cut) apply_to({begin, cut});
  apply_to({cut, end});
}

// 8 virtual lanes, and one fixed tree: the order in which rows.hpp adds float64.
template <class T>
double sum_squares(const SumSquares& s) noexcept {
  const T* g = static_cast<const T*>(s.g);
  double lane[8] = {};
  for (Index i = 0; i < s.elements; i += 8)
    for (Index l = 0; l < 8 && i + l < s.elements; ++l) lane[l] += double(g[i + l]) * double(g[i + l]);
  for (int half = 4; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

}  // namespace thalweg::THALWEG_ISA

// The weight gradient of a batch of few rows, straight into the update: it costs less to make than to keep, so each row of
// W is read once, updated in registers and written, without a tile in scratch. The chain over the batch's rows is that
// of gemm.hpp, and so are the bits.
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "kernels/update.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

constexpr Index few_rows = 4;

// rule on `vectors` vectors of columns of row r of a parameter, with g = sum over b of x_b dz_b.
template <int vectors, class R, class T>
inline void update_row(const R& rule, const Parameter& p, Index r, Index column, const T* x_b, Index x_ld, const T* dz_bo,
                       Index dz_ld, Index batch) {
  Vec<T> g[vectors];
#pragma GCC unroll 8
  for (Vec<T>& v : g) v = set(T(0));
  for (Index b = 0; b < batch; ++b) {
    const Vec<T> x = set(x_b[b * x_ld]);
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) g[j] = fma(x, load(dz_bo + b * dz_ld + j * Vec<T>::lanes), g[j]);
  }
  const Index at = r * p.ld + column;
#pragma GCC unroll 8
  for (int j = 0; j < vectors; ++j) {
    const Index o = at + j * Vec<T>::lanes;
    Vec<T> w = load(static_cast<T*>(p.w) + o), state[R::slots + 1];
    for (int s = 0; s < R::slots; ++s) state[s] = load(static_cast<T*>(p.slots[s]) + o);
    rule(w, g[j], state);
    for (int s = 0; s < R::slots; ++s) store(static_cast<T*>(p.slots[s]) + o, state[s]);
    store(static_cast<T*>(p.w) + o, w);
  }
}

// All columns of some rows r, for which x(b, r) = x_br[b * x_ld + (r - first) * x_step].
template <class R, class T>
void update_rows(const R& of_step, const DenseWeightGradient& g, Range rows, const T* x_br, Index x_ld, Index x_step) {
  const R rule = of_step;  // these two stay in registers, as in apply_rows
  const Parameter p = g.parameter;
  constexpr int vectors = 4;
  constexpr Index panel = vectors * Vec<T>::lanes;
  const T* dz_bo = static_cast<const T*>(g.dz);
  const Index end = whole_pads(g.columns.end);
  for (Index r = rows.begin; r < rows.end; ++r, x_br += x_step) {
    Index o = g.columns.begin;
    for (; o + panel <= end; o += panel)
      update_row<vectors>(rule, p, r, o, x_br, x_ld, dz_bo + o, g.dz_ld, g.batch);
    for (; o < end; o += Vec<T>::lanes) update_row<1>(rule, p, r, o, x_br, x_ld, dz_bo + o, g.dz_ld, g.batch);
  }
}

template <class T>
void update_from_few_rows(const DenseWeightGradient& g) {
  static constexpr T one = 1;
  const T* x = static_cast<const T*>(g.x) + g.inputs.begin;
  const Index bias = g.parameter.bias_row;
  with_rule<T>(g.rule, g.parameter, g.scalars, false,
               [&](const auto& rule) { update_rows(rule, g, g.inputs, x, g.x_ld, 1); });
  if (!g.bias) return;
  with_rule<T>(g.rule, g.parameter, g.scalars, true,
               [&](const auto& rule) { update_rows(rule, g, {bias, bias + 1}, &one, 0, 0); });
}

}  // namespace thalweg::THALWEG_ISA

// The weight gradient of a batch of few rows, straight into the update: it costs less to make than to keep. The chain
// over the batch's rows is that of gemm.hpp, and so are the bits.
//
// Where there is next to nothing to multiply, each row of W is read along, updated in registers and written; of a narrow
// layer and one row of the batch, each column of vectors. Else tiles of several rows of W use what they read of dZ for all
// of these, and while roots and quotients of one tile keep the divider busy, the products of the next begin.
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "kernels/update.hpp"
#include "kernels/zeros.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

constexpr Index fewest_rows = 4;

// Rows of W and state that are long push each other out of L1 before a tile has come to their end, and so does dZ where
// it has more than the 32 KB of L1: there the tiles of gemm.hpp are worth more.
template <class T>
bool has_few_rows(const DenseWeightGradient& g) {
  const Index row_bytes = g.parameter.ld * static_cast<Index>(sizeof(T));
  const bool fits = row_bytes <= 1024 && g.batch * row_bytes <= 32768, has_state = g.parameter.slots[0];
  return g.batch <= (fits ? 128 : has_state ? fewest_rows : 16);
}

// g(i, o) = sum over b of x_bi dz_bo, for so many rows i and vectors of columns o.
template <class T, int rows, int vectors>
inline void make_gradient(Vec<T> (&g)[rows][vectors], const T* x_bi, Index x_ld, const T* dz_bo, Index dz_ld,
                          Index batch) {
#pragma GCC unroll 8
  for (auto& row : g)
#pragma GCC unroll 8
    for (Vec<T>& v : row) v = set(T(0));
  for (Index b = 0; b < batch; ++b, x_bi += x_ld, dz_bo += dz_ld) {
    Vec<T> dz[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) dz[j] = load(dz_bo + j * Vec<T>::lanes);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Vec<T> x = set(x_bi[i]);
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) g[i][j] = fma(x, dz[j], g[i][j]);
    }
  }
#pragma GCC unroll 8
  for (auto& row : g)
#pragma GCC unroll 8
    for (Vec<T>& v : row) v = finished(v);
}

// rule on `vectors` vectors of a row of a parameter, from element `at` on.
template <int vectors, class R, class T>
inline void update_along(const R& rule, const Parameter& p, Index at, const T* x_b, Index x_ld, const T* dz_bo,
                         Index dz_ld, Index batch) {
  Vec<T> g[1][vectors];
  make_gradient(g, x_b, x_ld, dz_bo, dz_ld, batch);
#pragma GCC unroll 8
  for (int j = 0; j < vectors; ++j) apply_vector<true>(rule, p, at + j * Vec<T>::lanes, g[0][j]);
}

// All columns of some rows r, for which x(b, r) = x_br[b * x_ld + r - rows.begin], a row at a time.
template <class R, class T>
void update_rows(const R& of_step, const DenseWeightGradient& g, Range rows, const T* x_br, Index x_ld) {
  const R rule = of_step;  // these two stay in registers, as in apply_rows
  const Parameter p = g.parameter;
  constexpr int vectors = 4;
  constexpr Index panel = vectors * Vec<T>::lanes;
  const T* dz_bo = static_cast<const T*>(g.dz);
  const Index end = whole_pads(g.columns.end);
  for (Index r = rows.begin; r < rows.end; ++r, ++x_br) {
    const Index at = r * p.ld;
    Index o = g.columns.begin;
    for (; o + panel <= end; o += panel)
      update_along<vectors>(rule, p, at + o, x_br, x_ld, dz_bo + o, g.dz_ld, g.batch);
    for (; o < end; o += Vec<T>::lanes) update_along<1>(rule, p, at + o, x_br, x_ld, dz_bo + o, g.dz_ld, g.batch);
  }
}

// The gradient of a tile into L1.
template <int rows, int vectors, class T>
void keep_gradient(T* g_io, const T* x_bi, Index x_ld, const T* dz_bo, Index dz_ld, Index batch) {
  Vec<T> g[rows][vectors];
  make_gradient(g, x_bi, x_ld, dz_bo, dz_ld, batch);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(g_io + (i * vectors + j) * Vec<T>::lanes, g[i][j]);
}

// rule on a tile's rows from `first` on, of which row 0 begins at element `at`. Where the rule has state, and mostly roots
// and quotients, the gradient waits in L1, so that the products of the next tile begin meanwhile.
template <int rows, int vectors, class R, class T>
inline void update_tile(const R& rule, const Parameter& p, Index at, Index first, const T* x_bi, Index x_ld,
                        const T* dz_bo, Index dz_ld, Index batch) {
  constexpr Index lanes = Vec<T>::lanes;
  if constexpr (R::slots == 0) {
    Vec<T> g[rows][vectors];
    make_gradient(g, x_bi, x_ld, dz_bo, dz_ld, batch);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i, at += p.ld)
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j)
        if (i >= first) apply_vector<true>(rule, p, at + j * lanes, g[i][j]);
  } else {
    alignas(64) T g_io[rows * vectors * lanes];
    keep_gradient<rows, vectors>(g_io, x_bi, x_ld, dz_bo, dz_ld, batch);
    for (Index i = first; i < rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j)
        apply_vector<true>(rule, p, at + i * p.ld + j * lanes, load(g_io + (i * vectors + j) * lanes));
  }
}

// What update_rows does, a tile at a time, of which the last begins early enough to be whole: some gradients are made
// twice and used once.
template <int tile, int vectors, class R, class T>
void update_tiles(const R& of_step, const DenseWeightGradient& g, Range rows, const T* x_br, Index x_ld) {
  const R rule = of_step;
  const Parameter p = g.parameter;
  const T* dz_bo = static_cast<const T*>(g.dz);
  const Index dz_ld = g.dz_ld, batch = g.batch, begin = g.columns.begin, end = whole_pads(g.columns.end);
  for (Index first = rows.begin; first < rows.end; first += tile) {
    const Index r = smaller(first, rows.end - tile);
    for (Index o = begin; o < end; o += vectors * Vec<T>::lanes)
      update_tile<tile, vectors>(rule, p, r * p.ld + o, first - r, x_br + (r - rows.begin), x_ld, dz_bo + o, dz_ld, batch);
  }
}

// What update_rows does for a batch of one row, a vector of columns at a time: narrow layers have nothing to read along.
template <class R, class T>
void update_from_one_row(const R& of_step, const DenseWeightGradient& g, Range rows, const T* x_r) {
  const R rule = of_step;
  const Parameter p = g.parameter;
  const Index end = whole_pads(g.columns.end);
  for (Index o = g.columns.begin; o < end; o += Vec<T>::lanes) {
    const Vec<T> dz = load(static_cast<const T*>(g.dz) + o);
    Index at = rows.begin * p.ld + o;
    for (Index i = 0; i < rows.end - rows.begin; ++i, at += p.ld)
      apply_vector<true>(rule, p, at, fma(set(x_r[i]), dz, set(T(0))));
  }
}

// The bias, a row with x = 1, comes first, so that its chain of products runs beside the others.
template <class T>
void update_from_few_rows(const DenseWeightGradient& g) {
  static constexpr T one = 1;
  constexpr int tile = Tile<T>::few_rows;
  const T* x = static_cast<const T*>(g.x) + g.inputs.begin;
  const Index inputs = g.inputs.end - g.inputs.begin, columns = g.columns.end - g.columns.begin;
  const Index bias = g.parameter.bias_row;
  const bool by_rows = inputs < tile || (g.batch <= fewest_rows && columns >= panel_columns);
  if (g.bias)
    with_rule<T>(g.rule, g.parameter, g.scalars, true,
                 [&](const auto& rule) { update_rows(rule, g, {bias, bias + 1}, &one, 0); });
  with_rule<T>(g.rule, g.parameter, g.scalars, false, [&](const auto& rule) {
    if (by_rows) update_rows(rule, g, g.inputs, x, g.x_ld);
    else if (g.batch == 1) update_from_one_row(rule, g, g.inputs, x);
    else update_tiles<tile, Tile<T>::few_vectors>(rule, g, g.inputs, x, g.x_ld);
  });
}

}  // namespace thalweg::THALWEG_ISA

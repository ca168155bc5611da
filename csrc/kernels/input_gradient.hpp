// The gradient of a dense layer's input, dX = dZ W^T, in three forms: as dX^T = W dZ^T, a product of gemm.hpp; with W
// turned, where that is little, so that dX goes from registers into the sink; and in dot form, for a row or few.
#pragma once

#include "kernels/blocked.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// From so many rows of the batch on, dX is a chain over the units; below, it is one where W is turned, which pays for up to
// so many units a row, and else a dot product by chunks.
constexpr Index chain_batch = 16, narrow_outputs = 64, narrow_outputs_a_row = 8;

// to_cr = from_rc^T for `rows` rows and whole vectors of columns; rows beyond the last are written as zero up to a
// whole vector.
template <class T>
void transpose_block(T* to, Index to_ld, const T* from, Index from_ld, Index rows, Index columns) {
  constexpr Index lanes = Vec<T>::lanes;
  for (Index c = 0; c < columns; c += lanes)
    for (Index r = 0; r < rows; r += lanes) {
      Vec<T> v[lanes];
      load_turned(v, from + r * from_ld + c, from_ld, rows - r);
#pragma GCC unroll 16
      for (Index i = 0; i < lanes; ++i) store(to + (c + i) * to_ld + r, v[i]);
    }
}

// Sends dxt_ib^T, rows [b, b + rows) and units [i, i + units) of dX, into the sink; pads, up to a whole vector, as zero.
template <class T, class Put>
void put_transposed(const T* dxt_ib, Index b, Index rows, Index i, Index units, Put&& put) {
  constexpr Index lanes = Vec<T>::lanes;
  for (Index c = 0; c < units; c += lanes)
    for (Index r = 0; r < rows; r += lanes) {
      Vec<T> v[lanes];
      load_turned(v, dxt_ib + c * gradient_rows + r, gradient_rows, units - c);
#pragma GCC unroll 16
      for (Index l = 0; l < lanes; ++l)
        if (r + l < rows) put(b + r + l, i + c, v[l]);
    }
}

// What the sink is going to write and read, from row b and column i on.
template <class T>
Soon<T> soon_of(const Sink& s, Index b, Index i) {
  Soon<T> soon;
  soon.add(at<T>(s.dx, s.dx_ld, b, i), s.dx_ld);
  if (s.saved) soon.add(at<T>(s.saved, s.saved_ld, b, i), s.saved_ld);
  return soon;
}

// dX^T = W dZ^T for the columns [i, i + units) of dX and one block of batch rows, whose dZ^T is given.
template <class T>
void input_gradient_block(const DenseInputGradient& g, const T* dzt_ob, T* dxt_ib, Index b, Index rows, Index i,
                          Index units) {
  Product<T> p{};
  p.c = dxt_ib;
  p.c_ld = gradient_rows;
  take_rows(p, static_cast<const T*>(g.w) + i * g.w_ld, g.w_ld, units);
  p.b = dzt_ob;
  p.b_ld = p.next_ld = strip<T>;
  p.b_strip = whole_pads(g.outputs) * strip<T>;
  p.K = g.outputs;
  if (rows == units) p.soon = soon_of<T>(g.sink, b, i);  // a block of dX has the shape of dX^T, which is the product's
  multiply_blocked(p, units, rows);
  with_sink<T>(g.sink, [&](auto put) { put_transposed(dxt_ib, b, rows, i, units, put); });
}

// A block of batch rows at a time: dZ is turned once, strip by strip, and dX^T is turned back while it is in L1.
template <class T>
void input_gradient_chain(const DenseInputGradient& g) {
  T* dzt_ob = static_cast<T*>(g.scratch);
  T* dxt_ib = dzt_ob + whole_pads(g.outputs) * gradient_rows;
  for (Index b = g.rows.begin; b < g.rows.end; b += gradient_rows) {
    const Index rows = smaller(gradient_rows, g.rows.end - b);
    const T* dz_bo = static_cast<const T*>(g.dz) + b * g.dz_ld;
    for (Index r = 0; r < rows; r += strip<T>)
      transpose_block(dzt_ob + r * whole_pads(g.outputs), strip<T>, dz_bo + r * g.dz_ld, g.dz_ld, smaller(strip<T>, rows - r),
                      g.outputs);
    for (Index i = g.columns.begin; i < g.columns.end; i += gradient_units)
      input_gradient_block(g, dzt_ob, dxt_ib, b, rows, i, smaller(gradient_units, g.columns.end - i));
  }
}

// A batch too small to fill vectors with rows: every dX(b, i) is a dot product of a row of dZ and a row of W, those of
// neighbours i side by side.
template <class T>
void input_gradient_dot(const DenseInputGradient& g) {
  constexpr Index lanes = Vec<T>::lanes;
  with_sink<T>(g.sink, [&](auto put) {
    for (Index i = g.columns.begin; i < g.columns.end; i += lanes) {
      const Index units = smaller(lanes, g.columns.end - i);
      const T* w_io = at<T>(g.w, g.w_ld, i, 0);
      for (Index b = g.rows.begin; b < g.rows.end; ++b)
        put(b, i, keep_first(dots_by_chunks(at<T>(g.dz, g.dz_ld, b, 0), w_io, g.w_ld, units, g.outputs), units));
    }
  });
}

// Sends rows [b, b + rows) of a product, `vectors` vectors of them, into the sink.
template <int rows, int vectors, class T, class Put>
inline void narrow_tile(const Product<T>& p, Index b, Put&& put) {
  Vec<T> acc[rows][vectors];
#pragma GCC unroll 8
  for (auto& row : acc)
#pragma GCC unroll 8
    for (Vec<T>& v : row) v = set(T(0));
  Walk<T> at{p.a + b * p.a_row, p.b, nullptr, nullptr};
  accumulate<Sum::whole>(acc, p, at, p.K);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) put(b + r, j * Vec<T>::lanes, acc[r][j]);
}

template <int rows, int vectors, class T, class Put>
void narrow_strip(const Product<T>& p, Range all, Put&& put) {
  Index b = all.begin;
  for (; b + rows <= all.end; b += rows) narrow_tile<rows, vectors>(p, b, put);
  for (; b < all.end; ++b) narrow_tile<1, vectors>(p, b, put);
}

// Few units: there is more to turn in dZ and dX than in W, which may be turned already.
template <class T>
void input_gradient_narrow(const DenseInputGradient& g) {
  constexpr int vectors = Tile<T>::vectors;
  constexpr Index columns = vectors * Vec<T>::lanes;  // of W, turned at a time
  T* w_oi = static_cast<T*>(g.scratch);
  Product<T> p{};
  take_rows(p, static_cast<const T*>(g.dz), g.dz_ld, 1);
  p.b_ld = g.turned ? g.w_ld : columns;
  p.K = g.outputs;
  with_sink<T>(g.sink, [&](auto put) {
    for (Index i = g.columns.begin; i < g.columns.end; i += columns) {
      const Index units = smaller(columns, g.columns.end - i);
      if (!g.turned) transpose_block(w_oi, columns, at<T>(g.w, g.w_ld, i, 0), g.w_ld, units, g.outputs);
      p.b = g.turned ? at<T>(g.w, g.w_ld, 0, i) : w_oi;
      if (units == columns) narrow_strip<4, vectors>(p, g.rows, [&](Index b, Index c, Vec<T> dx) { put(b, i + c, dx); });
      else
        for (Index c = 0; c < units; c += Vec<T>::lanes, p.b += Vec<T>::lanes)
          narrow_strip<8, 1>(p, g.rows, [&](Index b, Index, Vec<T> dx) { put(b, i + c, keep_first(dx, units - c)); });
    }
  });
}

template <class T>
void dense_input_gradient(const DenseInputGradient& g) noexcept {
  const Index narrow = g.batch < chain_batch ? narrow_outputs_a_row * g.batch : narrow_outputs;
  if (g.turned || (g.outputs <= narrow && g.batch > 1)) input_gradient_narrow<T>(g);
  else if (g.batch < chain_batch) input_gradient_dot<T>(g);
  else input_gradient_chain<T>(g);
}

}  // namespace thalweg::THALWEG_ISA

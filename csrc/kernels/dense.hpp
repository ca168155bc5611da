// The dense layer: which blocks of Y, dX and dW are made in which order, out of the tiles of gemm.hpp. Blocks decide
// what stays in cache; the bits do not depend on them.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/blocked.hpp"
#include "kernels/few_rows.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "kernels/update.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

constexpr Index chain_batch = 16;  // from here on dX is a chain over the units; below, a dot product by chunks
constexpr Index dot_chunk = 128;

// Rows of X that stay in L2 beside a panel of W: 512 KB of what is multiplied at a time, in whole tiles. The more rows,
// the fewer times a wide W comes through the L2.
template <class T>
Index forward_rows(Index inputs) {
  const Index fit = (512 << 10) / (k_step<T>(inputs) * static_cast<Index>(sizeof(T)));
  return smaller(264, fit / 12 * 12);
}

template <class T>
void dense_forward(const DenseForward& f) noexcept {
  const Index columns = f.columns.end - f.columns.begin;
  const Index block = even_block<T>(f.rows.end - f.rows.begin, forward_rows<T>(f.inputs));
  for (Index b = f.rows.begin; b < f.rows.end; b += block) {
    const Index rows = smaller(block, f.rows.end - b);
    Product<T> p{};
    T* y = static_cast<T*>(f.y) + b * f.y_ld + f.columns.begin;
    p.c = f.z ? static_cast<T*>(f.z) + (y - static_cast<T*>(f.y)) : y;
    p.c_ld = f.y_ld;
    take_rows(p, static_cast<const T*>(f.x) + b * f.x_ld, f.x_ld, rows);
    p.b = static_cast<const T*>(f.w) + f.columns.begin;
    p.b_ld = p.next_ld = f.w_ld;
    p.K = f.inputs;
    p.bias = f.bias ? static_cast<const T*>(f.bias) + f.columns.begin : nullptr;
    p.fault = f.fault && f.columns.begin == 0 ? static_cast<T*>(f.fault) + b : nullptr;
    p.relu = f.activation == Activation::relu;
    multiply_blocked(p, rows, columns);
    if (f.activation != Activation::identity && !p.relu)
      activate_block<T>(f.activation, y, f.y_ld, p.c, p.c_ld, rows, columns);
  }
}

// to_cr = from_rc^T for `rows` rows and whole vectors of columns; rows beyond the last are written as zero up to a
// whole vector.
template <class T>
void transpose_block(T* to, Index to_ld, const T* from, Index from_ld, Index rows, Index columns) {
  constexpr Index lanes = Vec<T>::lanes;
  for (Index c = 0; c < columns; c += lanes)
    for (Index r = 0; r < rows; r += lanes) {
      Vec<T> v[lanes];
#pragma GCC unroll 16
      for (Index i = 0; i < lanes; ++i) v[i] = r + i < rows ? load(from + (r + i) * from_ld + c) : set(T(0));
      transpose(v);
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
#pragma GCC unroll 16
      for (Index l = 0; l < lanes; ++l) v[l] = c + l < units ? load(dxt_ib + (c + l) * gradient_rows + r) : set(T(0));
      transpose(v);
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
  const bool square = rows == units;  // then the block of dX has the shape of dX^T, which is the product's
  if (square && g.outputs > padding) p.soon = soon_of<T>(g.sink, b, i);
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

// Dot products of a row of dz with the rows w_io, w_io + w_ld, ..., a vector of them, in dot form for each chunk of 128
// units, chunk sums added in order. Pads are zero. Of fewer rows the last stands for those that are not there. `head`: there
// are as many rows, and no more units than virtual lanes, so that no loop is left.
template <bool head, class T>
inline Vec<T> dots_by_chunks(const T* dz_o, const T* w_io, Index w_ld, Index rows, Index outputs) {
  constexpr int lanes = Vec<T>::lanes, step = VirtualLanes<T>::lanes;
  Vec<T> total = set(T(0));
  for (Index chunk = 0; chunk < (head ? 1 : outputs); chunk += dot_chunk) {
    VirtualLanes<T> sum[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; ++l) sum[l] = virtual_lanes(T(0));
    const Index end = head ? step : smaller(chunk + dot_chunk, whole_pads(outputs));
    for (Index o = chunk; o < end; o += step)
#pragma GCC unroll 16
      for (int v = 0; v < VirtualLanes<T>::vectors; ++v) {
        const Vec<T> dz = load(dz_o + o + v * lanes);
#pragma GCC unroll 16
        for (int l = 0; l < lanes; ++l)
          sum[l].part[v] = fma(dz, load(w_io + (head ? l : smaller(l, rows - 1)) * w_ld + o + v * lanes), sum[l].part[v]);
      }
    Vec<T> sums[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; ++l) sums[l] = first_half_of_tree(sum[l]);
    total = total + sum_trees(sums);
  }
  return total;
}
template <class T>
inline Vec<T> dots_by_chunks(const T* dz_o, const T* w_io, Index w_ld, Index rows, Index outputs) {
  const bool head = rows == Vec<T>::lanes && outputs <= VirtualLanes<T>::lanes;
  return head ? dots_by_chunks<true>(dz_o, w_io, w_ld, rows, outputs) : dots_by_chunks<false>(dz_o, w_io, w_ld, rows, outputs);
}

// sum[0] + ... by the tree of rows.hpp. The terms are used up.
template <class T, int terms, int half = terms / 2>
inline Vec<T> sum_of(Vec<T> (&sum)[terms]) {
#pragma GCC unroll 8
  for (int c = 0; c < half; ++c) sum[c] = sum[c] + sum[c + half];
  if constexpr (half > 1) return sum_of<T, terms, half / 2>(sum);
  else return sum[0];
}

// dots_by_chunks, bit for bit, given w_oi for these rows i.
template <class T>
inline Vec<T> dots_turned(const T* dz_o, const T* w_oi, Index outputs) {
  constexpr int chains = VirtualLanes<T>::lanes;
  Vec<T> total = set(T(0));
  for (Index chunk = 0; chunk < outputs; chunk += dot_chunk) {
    Vec<T> sum[chains];
    for (Vec<T>& chain : sum) chain = set(T(0));
    for (Index o = chunk; o < smaller(chunk + dot_chunk, whole_pads(outputs)); o += chains)
#pragma GCC unroll 16
      for (int c = 0; c < chains; ++c) sum[c] = fma(set(dz_o[o + c]), load(w_oi + (o + c) * Vec<T>::lanes), sum[c]);
    total = total + sum_of(sum);
  }
  return total;
}

// A batch too small to fill vectors with rows: every dX(b, i) is a dot product of a row of dZ and a row of W, those of
// neighbours i side by side. Where there are rows enough to pay for it, W is turned for them.
template <class T>
void input_gradient_dot(const DenseInputGradient& g) {
  constexpr Index lanes = Vec<T>::lanes;
  const bool turned = g.batch > 1 && g.batch * 8 >= g.outputs;
  T* w_oi = static_cast<T*>(g.scratch);
  with_sink<T>(g.sink, [&](auto put) {
    for (Index i = g.columns.begin; i < g.columns.end; i += lanes) {
      const Index units = smaller(lanes, g.columns.end - i);
      const T* w_io = at<T>(g.w, g.w_ld, i, 0);
      if (turned) transpose_block(w_oi, lanes, w_io, g.w_ld, units, whole_pads(g.outputs));
      for (Index b = g.rows.begin; b < g.rows.end; ++b) {
        const T* dz_o = at<T>(g.dz, g.dz_ld, b, 0);
        const Vec<T> dx = turned ? dots_turned(dz_o, w_oi, g.outputs) : dots_by_chunks(dz_o, w_io, g.w_ld, units, g.outputs);
        put(b, i, keep_first(dx, units));
      }
    }
  });
}

template <class T>
void dense_input_gradient(const DenseInputGradient& g) noexcept {
  if (g.batch < chain_batch) input_gradient_dot<T>(g);
  else input_gradient_chain<T>(g);
}

// What a rule is going to read of a parameter, from a row and column on.
template <class T>
Soon<T> soon_of(const Parameter& p, Index row, Index column) {
  Soon<T> soon;
  soon.add(at<T>(p.w, p.ld, row, column), p.ld);
  for (void* slot : p.slots)
    if (slot) soon.add(at<T>(slot, p.ld, row, column), p.ld);
  return soon;
}

// Rows and columns of dW that are made at a time. Packing X pays for wide blocks only.
template <class T>
constexpr Index block_inputs = Tile<T>::packs ? gradient_inputs : gradient_inputs / 2;
template <class T>
constexpr Index block_columns = Tile<T>::packs ? gradient_columns : strip<T>;

// Whether the update is done in the tiles of the product: by the shortest of rules, at the end of a chain that is not cut.
template <class T>
bool in_registers(const DenseWeightGradient& g) {
  return g.rule == Rule::sgd && !g.parameter.regulated && g.batch <= Tile<T>::depth;
}

// Some columns of dW, for some inputs and one chunk of the batch's rows. From the second chunk on its sum is added to the
// total; after the last the rule is applied to that while it is in cache, if not in the tiles.
template <class T>
void weight_gradient_block(const DenseWeightGradient& g, Product<T> p, T* total, Index ld, Range inputs, Range columns,
                           Index chunk) {
  const bool updates = g.rule != Rule::none && chunk + p.K >= g.batch;
  const Range rows = {0, inputs.end - inputs.begin}, panel = {0, columns.end - columns.begin};
  if (updates) p.soon = soon_of<T>(g.parameter, inputs.begin, columns.begin);
  if (updates && chunk == 0 && in_registers<T>(g)) {
    const Sgd<T> rule(g.scalars);
    p.c = at<T>(g.parameter.w, g.parameter.ld, inputs.begin, columns.begin);
    p.c_ld = g.parameter.ld;
    p.rule = &rule;
    return multiply_blocked(p, rows.end, panel.end);
  }
  p.c = chunk == 0 ? total : static_cast<T*>(g.scratch);
  p.c_ld = chunk == 0 ? ld : block_columns<T>;
  multiply_blocked(p, rows.end, panel.end);
  if (chunk > 0)
    each_vector<T>(rows, panel, [&](Index r, Index o) {
      store(total + r * ld + o, load(total + r * ld + o) + load(p.c + r * p.c_ld + o));
    });
  if (updates) apply(g.rule, g.parameter, total, ld, g.scalars, inputs, columns);
}

// dW for the columns [columns) of one panel and one chunk of rows [chunk, chunk + K). The bias is one more row, x = 1.
template <class T>
void weight_gradient_chunk(const DenseWeightGradient& g, Range columns, Index chunk) {
  static constexpr T one = 1;
  const bool fused = g.rule != Rule::none, single = g.batch <= rows_per_chunk;
  const Index ld = fused ? block_columns<T> : g.parameter.ld;
  Product<T> p{};
  p.K = smaller(rows_per_chunk, g.batch - chunk);
  p.b = at<T>(g.dz, g.dz_ld, chunk, columns.begin);
  p.b_ld = p.next_ld = g.dz_ld;
  const T* next_panel = columns.end < g.columns.end ? at<T>(g.dz, g.dz_ld, 0, columns.end) : nullptr;
  const T* next_b = chunk + p.K < g.batch ? p.b + p.K * p.b_ld : next_panel;
  const auto total = [&](Index row, Index i) {  // row: its place in a scratch that holds all inputs, behind one block
    return fused ? static_cast<T*>(g.scratch) + (single ? 0 : block_inputs<T> + row) * block_columns<T>
                 : at<T>(g.parameter.g, ld, i, columns.begin);
  };
  static_assert(!Tile<T>::packs || Tile<T>::depth <= packed_rows);
  const Index all = g.inputs.end - g.inputs.begin, block = even_block<T>(all, block_inputs<T>);
  p.room = static_cast<T*>(g.scratch) + (block_inputs<T> + (single ? 0 : all + 1)) * block_columns<T>;
  for (Index i = g.inputs.begin; i < g.inputs.end; i += block) {
    p.next_b = i == g.inputs.begin ? next_b : nullptr;
    take_columns(p, at<T>(g.x, g.x_ld, chunk, i), g.x_ld);
    const Range inputs = {i, smaller(i + block, g.inputs.end)};
    weight_gradient_block(g, p, total(i - g.inputs.begin, i), ld, inputs, columns, chunk);
  }
  if (!g.bias) return;
  const Index bias = g.parameter.bias_row;
  take_columns(p, &one, 0);
  weight_gradient_block(g, p, total(g.inputs.end - g.inputs.begin, bias), ld, {bias, bias + 1}, columns, chunk);
}

template <class T>
void dense_weight_gradient(const DenseWeightGradient& g) noexcept {
  if (g.rule != Rule::none && has_few_rows<T>(g)) return update_from_few_rows<T>(g);
  const Index end = whole_pads(g.columns.end);
  for (Index o = g.columns.begin; o < end; o += block_columns<T>)
    for (Index chunk = 0; chunk < g.batch; chunk += rows_per_chunk)
      weight_gradient_chunk<T>(g, {o, smaller(o + block_columns<T>, end)}, chunk);
}

}  // namespace thalweg::THALWEG_ISA

// The dense layer: which blocks of Y and dW are made in which order, out of the tiles of gemm.hpp. Blocks decide what
// stays in cache; the bits do not depend on them. dX: input_gradient.hpp.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/blocked.hpp"
#include "kernels/few_columns.hpp"
#include "kernels/few_rows.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "kernels/turned.hpp"
#include "kernels/update.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// Rows of X that stay in L2 beside a panel of W: 512 KB of what is multiplied at a time, in whole tiles. The more rows,
// the fewer times a wide W comes through the L2.
template <class T>
Index forward_rows(Index inputs) {
  const Index fit = (512 << 10) / (k_step<T>(inputs) * static_cast<Index>(sizeof(T)));
  return smaller(most_block_rows, fit / 12 * 12);
}

// Whether zeros of rows of X may be worth leaving out: what has to be looked at first, W or dZ among it, pays where there are
// some tiles of some vectors.
template <class T>
bool worth_leaving_out(const T* x_i, Index rows, Index inputs, Index columns) {
  static_assert(occupied_batch <= 4 * Tile<T>::rows);
  return rows >= 4 * Tile<T>::rows && inputs >= 64 && columns >= 32 && mostly_zero(x_i, inputs);
}

template <class T>
void dense_forward(const DenseForward& f) noexcept {
  if (f.turned) return forward_turned<T>(f);
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
    if (worth_leaving_out(p.a, rows, f.inputs, columns)) p.zeros = Zeros::left_out_if_finite;
    if (columns <= few_columns<T> && rows >= few_columns<T> && p.K >= Vec<T>::lanes) multiply_across(p, rows, columns);
    else multiply_blocked(p, rows, columns);
    if (f.activation != Activation::identity && !p.relu)
      activate_block<T>(f.activation, y, f.y_ld, p.c, p.c_ld, rows, columns);
  }
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

// Whether a block's rows fill the vectors.
template <class T>
bool goes_down(const DenseWeightGradient& g, Range inputs) {
  return g.columns.end - g.columns.begin <= few_columns<T> && inputs.end - inputs.begin >= Vec<T>::lanes;
}

// Whether the update is done in the tiles of the product: by the shortest of rules, at the end of a chain that is not cut.
template <class T>
bool in_registers(const DenseWeightGradient& g, Range inputs) {
  return g.rule == Rule::sgd && !g.parameter.regulated && g.batch <= Tile<T>::depth && !goes_down<T>(g, inputs);
}

// Some columns of dW, for some inputs and one chunk of the batch's rows. From the second chunk on its sum is added to the
// total; after the last the rule is applied to that while it is in cache, if not in the tiles.
template <class T>
void weight_gradient_block(const DenseWeightGradient& g, Product<T> p, T* total, Index ld, Range inputs, Range columns,
                           Index chunk) {
  const bool updates = g.rule != Rule::none && chunk + p.K >= g.batch;
  const Range rows = {0, inputs.end - inputs.begin}, panel = {0, columns.end - columns.begin};
  if (updates) p.soon = soon_of<T>(g.parameter, inputs.begin, columns.begin);
  if (updates && chunk == 0 && in_registers<T>(g, inputs)) {
    const Sgd<T> rule(g.scalars);
    p.c = at<T>(g.parameter.w, g.parameter.ld, inputs.begin, columns.begin);
    p.c_ld = g.parameter.ld;
    p.rule = &rule;
    return multiply_blocked(p, rows.end, panel.end);
  }
  p.c = chunk == 0 ? total : static_cast<T*>(g.scratch);  // GradientRooms::block
  p.c_ld = chunk == 0 ? ld : block_columns<T>;
  if (goes_down<T>(g, inputs)) multiply_down(p, rows.end, g.columns.end - g.columns.begin);
  else multiply_blocked(p, rows.end, panel.end);
  if (chunk > 0)
    each_vector<T>(rows, panel, [&](Index r, Index o) {
      store(total + r * ld + o, load(total + r * ld + o) + load(p.c + r * p.c_ld + o));
    });
  if (updates) apply(g.rule, g.parameter, total, ld, g.scalars, inputs, columns);
}

// What the scratch of a weight gradient holds.
template <class T>
struct GradientRooms {
  T* block;                // of dW, of the rows in hand
  T* totals;               // of all inputs and the bias, where a batch has several chunks of rows
  T *packed_x, *packed_dz;  // for tiles that pack
  std::uint8_t* occupied;  // where the inputs are not zero; null: nobody looks
  GradientRooms(const DenseWeightGradient& g, bool leaves_out) {
    const Index inputs = g.inputs.end - g.inputs.begin;
    block = static_cast<T*>(g.scratch);
    totals = block + gradient_inputs * gradient_columns;
    packed_x = totals + (g.batch > rows_per_chunk ? (inputs + 1) * gradient_columns : 0);
    packed_dz = packed_x + gradient_inputs * packed_rows;
    T* const end = packed_dz + smaller(g.batch, rows_per_chunk) * gradient_columns;
    occupied = leaves_out ? reinterpret_cast<std::uint8_t*>(end) : nullptr;
  }
};

// B, strip after strip, for tiles that pack.
template <class T>
void pack_strips(Product<T>& p, Index columns, T* room) {
  static_assert(!Tile<T>::packs || padding % strip<T> == 0);
  constexpr Index soon = 8, line = 64 / sizeof(T);  // rows that come meanwhile
  for (Index k = 0; k < p.K; ++k) {
    const T* row = p.b + k * p.b_ld;
    for (Index j = 0; j < columns; j += line) prefetch(row + soon * p.b_ld + j);
    for (Index j = 0; j < columns; j += strip<T>)
      for (Index l = 0; l < strip<T>; l += Vec<T>::lanes) store(room + j * p.K + k * strip<T> + l, load(row + j + l));
  }
  p.b = room;
  p.b_ld = p.next_ld = strip<T>;
  p.b_strip = p.K * strip<T>;
}

// B = dZ of the columns [columns) of one panel and one chunk of rows [chunk, chunk + K), packed once where several blocks of
// inputs are multiplied with it. What comes after it is fetched, or packed in its turn.
template <class T>
void take_panel(Product<T>& p, const DenseWeightGradient& g, const GradientRooms<T>& rooms, Range columns, Index chunk,
                bool several) {
  const Index panel = columns.end - columns.begin;
  p.K = smaller(rows_per_chunk, g.batch - chunk);
  p.b = at<T>(g.dz, g.dz_ld, chunk, columns.begin);
  p.b_ld = p.next_ld = g.dz_ld;
  if (rooms.occupied && all_finite(p.b, p.b_ld, p.K, panel)) p.zeros = Zeros::left_out;
  if (Tile<T>::packs && several && panel > strip<T>) return pack_strips(p, panel, rooms.packed_dz);
  const T* next_panel = columns.end < g.columns.end ? at<T>(g.dz, g.dz_ld, 0, columns.end) : nullptr;
  p.next_b = chunk + p.K < g.batch ? p.b + p.K * p.b_ld : next_panel;
}

// dW for the columns of one panel and one chunk of rows. The bias is one more row, x = 1.
template <class T>
void weight_gradient_chunk(const DenseWeightGradient& g, const GradientRooms<T>& rooms, Range columns, Index chunk) {
  static constexpr T one = 1;
  static_assert(!Tile<T>::packs || Tile<T>::depth <= packed_rows);
  const bool fused = g.rule != Rule::none, single = g.batch <= rows_per_chunk;
  const Index all = g.inputs.end - g.inputs.begin, ld = fused ? block_columns<T> : g.parameter.ld;
  const Index block = even_block<T>(all, single && goes_down<T>(g, g.inputs) ? gradient_inputs : block_inputs<T>);
  const auto total = [&](Index row, Index i) {  // row: its place among all inputs
    if (!fused) return at<T>(g.parameter.g, ld, i, columns.begin);
    return single ? rooms.block : rooms.totals + row * block_columns<T>;
  };
  Product<T> p{};
  take_panel(p, g, rooms, columns, chunk, all > block);
  p.room = rooms.packed_x;
  for (Index row = 0; row < all; row += block) {
    const Range inputs = {g.inputs.begin + row, smaller(g.inputs.begin + row + block, g.inputs.end)};
    take_columns(p, at<T>(g.x, g.x_ld, chunk, inputs.begin), g.x_ld);
    if (rooms.occupied) p.occupied = rooms.occupied + row * occupied_ld;
    weight_gradient_block(g, p, total(row, inputs.begin), ld, inputs, columns, chunk);
    p.next_b = nullptr;
  }
  if (!g.bias) return;
  const Index bias = g.parameter.bias_row;
  take_columns(p, &one, 0);
  p.zeros = Zeros::kept;
  weight_gradient_block(g, p, total(all, bias), ld, {bias, bias + 1}, columns, chunk);
}

template <class T>
void dense_weight_gradient(const DenseWeightGradient& g) noexcept {
  if (g.turned) return weight_gradient_turned<T>(g);
  constexpr Index worth_turning = 17;  // rows; of fewer the rule is in the products' tiles
  const bool down = g.batch >= worth_turning && goes_down<T>(g, g.inputs);
  const Index inputs = g.inputs.end - g.inputs.begin, columns = g.columns.end - g.columns.begin;
  const bool leaves_out = worth_leaving_out(at<T>(g.x, g.x_ld, 0, g.inputs.begin), g.batch, inputs, columns);
  if (g.rule != Rule::none && has_few_rows<T>(g) && !down && !leaves_out) return update_from_few_rows<T>(g);
  const GradientRooms<T> rooms(g, leaves_out);
  const Index end = whole_pads(g.columns.end);
  for (Index o = g.columns.begin; o < end; o += block_columns<T>)
    for (Index chunk = 0; chunk < g.batch; chunk += rows_per_chunk) {
      const bool found = o > g.columns.begin && g.batch <= rows_per_chunk;
      if (leaves_out && !found)
        find_in_columns(rooms.occupied, at<T>(g.x, g.x_ld, chunk, g.inputs.begin), g.x_ld, inputs,
                        smaller(rows_per_chunk, g.batch - chunk));
      weight_gradient_chunk<T>(g, rooms, {o, smaller(o + block_columns<T>, end)}, chunk);
    }
}

}  // namespace thalweg::THALWEG_ISA

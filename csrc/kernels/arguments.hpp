// The arguments of kernels: plain data. Those of layers without a product: layer_arguments.hpp.
//
// Pointers are void because one program serves both dtypes: a kernel's template casts them once, to the
// dtype of its table. Matrices are row-major; `_ld` is the distance of rows in elements; a matrix of ours has rows
// padded to a multiple of `padding` elements, and where a kernel's range of columns ends at the last column it runs to
// the end of the pads. Ranges say which part of the output the call owns; everything else is read only.
#pragma once

#include "kernels/names.hpp"

namespace thalweg {

// A user's array, any strides, in bytes. Column stride is unused where there is one column.
struct Array {
  const void* data;
  Source type;
  Index row_stride, column_stride;
};

// out_bc[b, c] = array[order[b], c] for b in rows. Without an order, row b. With a mean, which may be null, it becomes
// (array - mean_c) * scale_c in float64 before it is rounded. Pads are not touched. fault_b, where not null, receives for
// each row 0, or NaN if it holds a NaN or infinity.
struct Gather {
  void* out;
  void* fault;
  Index out_ld, columns;
  Array array;
  const Index* order;
  const double* mean;
  const double* scale;
  Range rows;
};

// out_b[b] = array[order[b]], or NaN where that is no integer in [0, classes).
struct GatherLabels {
  void* out;
  Index classes;
  Array array;
  const Index* order;
  Range rows;
};

// order_i, for i in [0, count): the first rows of a permutation of [0, rows), the same for every count; returns how many are
// made, more where that costs as much. There must be room for all. The stream of `key` draws it: base/rng.hpp.
struct DrawOrder {
  Index* order;
  Index count, rows;
  std::uint64_t key;
};

// y_bo = act(z_bo), z_bo = x_bi w_io + bias_o, for b in rows and o in columns. bias may be null. z, where not null, is
// kept, with the leading dimension of y. fault_b, where not null, receives for each row 0, or NaN if the row of x or the
// first unit's weights hold a NaN or infinity. turned: w_oi is given in place of w_io, and fault is null.
struct DenseForward {
  void* y;
  void* z;
  Index y_ld;
  const void* x;
  Index x_ld;
  const void* w;
  Index w_ld;
  const void* bias;
  void* fault;
  Index inputs;
  Activation activation;
  Range rows, columns;
  bool turned = false;
};

// Where the gradient of a value goes that several layers may read: dx = g, or with `add` dx + g; and from the last of
// them on, times act'(saved), the derivative of the activation that made the value. saved: its output, or its input
// where keeps_input says so; null for identity.
struct Sink {
  void* dx;
  Index dx_ld;
  const void* saved;
  Index saved_ld;
  Activation activation;
  bool add;
};

// sink.dx_bi = dz_bo w_io^T, for b in rows and i in columns. scratch_f: input_gradient_scratch(outputs) elements.
// `batch` and `turned`, with which w_oi is given in place of w_io, decide the order of sums.
struct DenseInputGradient {
  Sink sink;
  const void* dz;
  Index dz_ld;
  const void* w;
  Index w_ld;
  void* scratch;
  Index batch, outputs;
  Range rows, columns;
  bool turned = false;
};

constexpr Index gradient_rows = 64;  // rows of dz that an input gradient transposes at a time
constexpr Index gradient_units = 64; // columns of dx that it makes at a time
constexpr Index input_gradient_scratch(Index outputs) { return (outputs + padding + gradient_units) * gradient_rows; }

// What becomes of a gradient before its rule: g + l1 sign(w) + 2 l2 w; and whether the rule's weight decay applies.
struct Regulation {
  double l1 = 0, l2 = 0;
  bool decay = true;
};

// One parameter [rows, columns] with its gradient and state, all with one leading dimension. regulated: what `weight`
// says of the rows below bias_row, and `offset` of that row, takes place, with more scalars of the step: those of the
// rule, those of the rule without weight decay, then scale, clip and share:
//   g = clip(scale g + penalties, -clip, clip);  w = rule(w, g);  average += share (w - average), if averaged
// The average is the slot after those of the rule.
struct Parameter {
  void* w;
  void* g;
  void* slots[max_slots];
  Index ld, bias_row;
  bool regulated, averaged;
  Regulation weight, offset;
};

// w, slots = rule(w, g, slots, scalars), for rows and columns.
struct Update {
  Parameter parameter;
  Rule rule;
  const double* scalars;
  Range rows, columns;
};

// g_io = x_bi^T dz_bo for i in inputs and o in columns, and with `bias` g_o = sum over b of dz_bo, kept in the bias row
// of the parameter. With a rule other than none the gradient goes straight into that update, and g is not
// touched. scratch: weight_gradient_scratch(inputs, batch) elements. turned: the parameter's rows are units, w_oi, the
// batch is one row, and the rule plain SGD.
struct DenseWeightGradient {
  Parameter parameter;
  const void* x;
  Index x_ld;
  const void* dz;
  Index dz_ld;
  void* scratch;
  Index batch;
  bool bias;
  Rule rule;
  const double* scalars;
  Range inputs, columns;
  bool turned = false;
};

constexpr Index panel_columns = 64;      // widest tile of any ISA, in elements
constexpr Index gradient_columns = 128;  // columns, and
constexpr Index gradient_inputs = 96;    // rows of dw that a weight gradient makes, and updates, at a time: half as many on
                                         // an ISA that does not pack, but for one to four columns
constexpr Index packed_rows = 256;       // rows of x of which it packs so many columns
constexpr Index occupied_ld = 112;        // bytes that tell of a row of A where it is not zero: zeros.hpp
constexpr Index occupied_batch = 16;      // of smaller batches nobody looks
constexpr Index occupied_scratch(Index inputs, Index batch) { return batch < occupied_batch ? 0 : inputs * occupied_ld / 4; }
constexpr Index weight_gradient_scratch(Index inputs, Index batch) {  // what for: GradientRooms
  const Index totals = batch > rows_per_chunk ? inputs + 1 : 0, rows = batch < rows_per_chunk ? batch : rows_per_chunk;
  return (gradient_inputs + totals + rows) * gradient_columns + gradient_inputs * packed_rows + occupied_scratch(inputs, batch);
}

// y_bc = act(x_bc), where y may be x; or dy_bc = dy_bc * act'(y_bc). For rows and columns; softmax goes over the whole
// row.
struct Activate {
  void* y;
  Index y_ld;
  const void* x;
  Index x_ld;
  Activation activation;
  Range rows, columns;
};
// dx = y * (dy - sum of dy y), row by row; dx may be dy.
struct SoftmaxBackward {
  void* dx;
  Index dx_ld;
  const void* dy;
  Index dy_ld;
  const void* y;
  Index y_ld;
  Index columns;
  Range rows;
};

// sink.dx = dy, for rows and columns; sink.dx may be dy.
struct PassGradient {
  Sink sink;
  const void* dy;
  Index dy_ld;
  Range rows, columns;
};

// Loss of each row, and its gradient for the mean over the batch: loss_b and dy_bo for b in rows. cross_entropy takes
// either labels_b (NaN for an unknown one, whose loss is NaN) or targets_bo; the others take targets_bo. weight_b and
// fault_b may be null; scale, 1 / sum of weights, multiplies the gradient; fault is added to the loss. parameter_o,
// padded like a row, is huber's delta, quantile's q and binary_cross_entropy's pos_weight; null stands for ones.
// smoothing is cross_entropy's. Pads of dy are written as zero.
struct RowLoss {
  void* loss;
  void* dy;
  Index dy_ld;
  const void* y;
  Index y_ld;
  const void* labels;
  const void* targets;
  Index targets_ld;
  const void* weight;
  const void* fault;
  double scale;
  Loss kind;
  const void* parameter;
  double smoothing;
  Index columns;
  Range rows;
};

// Sum over b of weight_b loss_b in float64, in chunks of rows_per_chunk. A null stands for ones.
struct SumRows {
  const void* weight;
  const void* loss;
  Index batch;
};

// Sum of the squares of the elements of g in float64, dot form.
struct SumSquares {
  const void* g;
  Index elements;
};

}  // namespace thalweg

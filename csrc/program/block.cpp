// Exact-block SGD (kernels/block_arguments.hpp): a plan whose steps between the marks run `spec.block` times, between steps
// that run once a block. Of the first layer every step makes only what depends on the steps before it in the block; its
// columns are owned, so that no weight crosses threads.
#include <algorithm>
#include <cmath>

#include "program/builder.hpp"
#include "program/program.hpp"

namespace thalweg {

// ---- the plan -----------------------------------------------------------------------------------------------------

// With those that gram reads in vain.
Index Builder::block_rows() const {
  return (spec().batch * spec().block + gram_rows - 1) / gram_rows * gram_rows;
}

// For steps of one row: with more, sums of several rows do not wait for each other either. Layers of more units than a
// cache line fill vectors as they are, and threads may own columns of them.
void Builder::turn_narrow_layers() {
  if (!in_block() || spec().batch > 1) return;
  for (ParameterPlan& p : plan_.parameters)
    p.turned = p.layer > 0 && layer(p.layer).kind == LayerKind::dense && p.outputs <= padding;
}

void Builder::block_buffers() {
  if (!in_block()) return;
  const Index rows = block_rows(), units = layer(0).units;
  plan_.extents.push_back(spec().batch * spec().block);
  block_space_ = static_cast<Space>(plan_.extents.size()) - 1;
  block_start_ = add_matrix("start", rows, units);
  block_gram_ = add_matrix("gram", rows, rows);
  block_kept_ = add_matrix("kept", rows, units);
}

// Before the block's first step: its rows, their products with each other, and with the weights of now. That comes last
// and waits for all of gram, so that no step has to; steps by one thread follow another that makes gram for them then.
void Builder::begin_block() {
  gather();
  if (!steps_by_one()) gram();
  block_product();
}

void Builder::gram() {
  Step& gram = add_step(Kind::gram, block_space_, {{value_[0], whole, false}, {block_gram_, block_space_, true}},
                        double(spec().inputs) * spec().batch * spec().batch * spec().block);
  gram.input = value_[0];
  gram.output = block_gram_;
  gram.parameter = 0;
}

void Builder::block_product() {
  const Space units = units_of(1);
  std::vector<Access> accesses = {{value_[0], whole, false}, {weight_[0], units, false}, {block_start_, units, true}};
  if (!steps_by_one()) accesses.push_back({block_gram_, whole, false});
  Step& start = add_step(Kind::block_product, units, std::move(accesses), product_flops(0));
  start.input = value_[0];
  start.output = block_start_;
  start.parameter = 0;
}

void Builder::block_forward() {
  const Space owner = owner_[1];
  const int kept = keeps_input(layer(0).activation) ? saved_[1] : none;
  Step& step = add_step(Kind::block_forward, owner,
                        {{block_start_, owner, false},
                         {block_gram_, whole, false},
                         {block_kept_, owner, false},
                         {value_[1], owner, true},
                         {fault_, owner, true}},
                        double(spec().batch) * spec().batch * spec().block * layer(0).units);
  if (kept != none) step.accesses.push_back({kept, owner, true});
  step.input = block_start_;
  step.output = value_[1];
  step.other = fault_;
  step.kept = kept;
  step.activation = layer(0).activation;
}

void Builder::keep_step() {
  const Space owner = owner_[1];
  Step& step = add_step(Kind::keep_step, owner, {{gradient_[1], owner, false}, {block_kept_, owner, true}},
                        double(spec().batch) * layer(0).units);
  step.input = gradient_[1];
  step.output = block_kept_;
}

void Builder::end_block() {
  const Space units = units_of(1);
  Step& step = add_step(Kind::block_update, units,
                        {{value_[0], whole, false},
                         {block_kept_, units, false},
                         {weight_[0], units, true},
                         {scratch_, every_thread, true}},
                        product_flops(0));
  step.input = block_kept_;
  step.other = value_[0];
  step.parameter = 0;
  step.by_columns = true;
}

// ---- the program --------------------------------------------------------------------------------------------------

// Row i has i + 1 products: of these, as many for each thread, about; or all for one that does not make the steps.
Range Program::own_of_gram(const Step& step, int thread) const {
  const Index rows = plan_.buffers[step.output].rows, grains = rows / gram_rows;
  if (plan_.steps_by_one) return {0, thread == 0 ? rows : 0};  // the last thread has the rows of a step: Plan::owned
  const auto cut = [&](int t) { return gram_rows * static_cast<Index>(grains * std::sqrt(double(t) / plan_.threads) + 0.5); };
  return {cut(thread), cut(thread + 1)};
}

Gram Program::bind_gram(const Step& step, Range rows, int thread) const {
  const ParameterPlan& p = plan_.parameters[step.parameter];
  return {data(step.output, thread), ld(step.output), data(step.input, thread), ld(step.input), p.inputs,
          p.bias ? 1.0 : 0.0, rows};
}

BlockForward Program::bind_block_forward(const Step& step, Range own, int thread) const {
  const int gram = plan_.find("gram"), kept = plan_.find("kept");
  return {data(step.output, thread), data_or_null(step.kept, thread), ld(step.output), data(step.input, thread),
          ld(step.input), data(gram, thread), ld(gram), data(kept, thread), ld(kept), data(step.other, thread),
          step.activation, 0, plan_.spec.batch, columns_of(step, own)};
}

KeepStep Program::bind_keep_step(const Step& step, Range own, int thread) const {
  return {data(step.output, thread), ld(step.output), data(step.input, thread), ld(step.input), 0, 0, plan_.spec.batch,
          columns_of(step, own)};
}

// Where the user has a block's rows, or null if they must be gathered: kernels read rows of our dtype, in order, with all
// rows and pads that they expect, and not so far apart that they push each other out of L1 (leading_dimension).
const void* Program::place_of_block(const Moment& moment) const {
  const Spec& spec = plan_.spec;
  const Array& x = moment.slice.x;
  const Index rows = spec.batch * spec.block, item = size_of(spec.dtype);
  const bool same_dtype = x.type == (spec.dtype == DType::f32 ? Source::f32 : Source::f64);
  if (spec.block == 1 || spec.standardize || moment.slice.order || !same_dtype) return nullptr;
  const char* place = static_cast<const char*>(x.data) + moment.row * x.row_stride;
  const bool complete = moment.block_rows == rows && rows % gram_rows == 0 && spec.inputs % padding == 0;
  const bool aligned = (reinterpret_cast<std::uintptr_t>(place) | x.row_stride) % item == 0;
  return complete && aligned && x.column_stride == item && x.row_stride % 2048 != 0 ? place : nullptr;
}

// touch(line) for the cache lines of rows of the next block, so many from the place on that has been reached in this one.
// They lie anywhere in the user's array; from L2 they are gathered twice as fast. Columns that lie further apart than the
// widest numbers side by side are left alone, and so are rows that L2 does not hold.
template <class Touch>
void Program::each_line_ahead(const Moment& moment, Index rows, Touch&& touch) const {
  const Index block = plan_.spec.block * plan_.spec.batch, end = moment.slice.first + moment.slice.steps * plan_.spec.batch;
  const Array& x = moment.slice.x;
  constexpr Index most_bytes = 256 << 10, widest = sizeof(double);
  const Index last = (plan_.spec.inputs - 1) * x.column_stride;  // column
  if (x.column_stride > widest || last * block > most_bytes) return;
  for (Index row = moment.row + block; row < std::min(end, moment.row + block + rows); ++row) {
    const char* first = static_cast<const char*>(x.data) + (moment.slice.order ? moment.slice.order[row] : row) * x.row_stride;
    for (Index byte = 0; byte <= last; byte += 64) touch(first + byte);
  }
}

// Whoever has work to do asks for the lines; who waits takes them: of so many requests at a time most would be dropped.
void Program::fetch_ahead(const Moment& moment) const {
  each_line_ahead(moment, plan_.spec.batch, [](const char* line) { __builtin_prefetch(line, 0, 2); });
}
void Program::read_ahead(const Moment& moment) const {
  each_line_ahead(moment, moment.block_rows, [](const char* line) { (void)*static_cast<const volatile char*>(line); });
}

Program::Next Program::run(const BlockProduct& task, Moment& moment) {
  DenseForward forward = task;
  if (moment.block_x) read_in_place(forward, moment.block_x, moment);
  forward.rows = {0, moment.block_rows};
  return call(table_.dense_forward, forward);
}

// Few rows at a time, so that the thread that makes the steps need not wait for all.
Program::Next Program::run(const Gram& task, Moment& moment) {
  Gram part = task;
  if (moment.block_x) read_in_place(part, moment.block_x, moment);
  if (!plan_.steps_by_one) return call(table_.gram, part);
  for (Index i = task.rows.begin; i < std::min(task.rows.end, moment.block_rows); i += gram_rows) {
    part.rows = {i, i + gram_rows};
    table_.gram(part);
    gram_made_.reach(moment.row + std::min(i + gram_rows, moment.block_rows));
  }
  return Next::step;
}

Program::Next Program::run(const BlockForward& task, Moment& moment) {
  fetch_ahead(moment);
  if (plan_.steps_by_one && moment.row_in_block > 0) gram_made_.wait_for(moment.row + plan_.spec.batch);
  BlockForward forward = task;
  forward.first = moment.row_in_block;
  return call(table_.block_forward, forward);
}

Program::Next Program::run(const KeepStep& task, Moment& moment) {
  KeepStep keep = task;
  keep.first = moment.row_in_block;
  keep.lr = scalars_of(moment)[0];
  return call(table_.keep_step, keep);
}

// What was kept is what is to be added.
Program::Next Program::run(const BlockUpdate& task, Moment& moment) {
  static constexpr double add_all[] = {-1, 0};  // SGD's scalars: a rate of -1, no decay
  DenseWeightGradient gradient = task;
  if (moment.block_x) read_in_place(gradient, moment.block_x, moment);
  gradient.batch = moment.block_rows;
  gradient.scalars = add_all;
  if (gradient.batch > 0) table_.dense_weight_gradient(gradient);
  return Next::step;
}

}  // namespace thalweg

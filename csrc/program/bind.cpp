// Turns every step of a plan into the arguments of its kernel, once for each thread: pointers into the arena and the
// storage, and the range that the thread owns of the rows, plan_.extents[batch_rows], that are taken at a time.
#include "program/program.hpp"

namespace thalweg {

namespace {

constexpr int input_buffer = 0;  // x comes first in every plan

// Columns of a parameter: who owns the last has its pads.
Range with_pads(Range columns, const ParameterPlan& p) {
  return {columns.begin, columns.end == p.outputs ? p.ld : columns.end};
}

}  // namespace

char* Program::data(int buffer, int thread) const {
  const Buffer& b = plan_.buffers[buffer];
  const Index skipped = b.lies_apart() ? plan_.owned(b.apart, thread).begin * size_of(plan_.spec.dtype) : 0;
  return arena_.data() + b.offset + (b.per_thread ? thread * plan_.thread_bytes : 0) - skipped;
}

char* Program::data_or_null(int buffer, int thread) const { return buffer == none ? nullptr : data(buffer, thread); }

Parameter Program::parameter(int index) const {
  const ParameterPlan& p = plan_.parameters[index];
  const Index bytes = p.offset * size_of(plan_.spec.dtype);
  const auto at = [bytes](void* block) -> void* { return block ? static_cast<char*>(block) + bytes : nullptr; };
  Parameter parameter{};
  parameter.w = at(storage_.parameters);
  parameter.g = at(storage_.gradients);
  for (int s = 0; s < max_slots; ++s) parameter.slots[s] = at(storage_.slots[s]);
  parameter.ld = p.ld;
  parameter.bias_row = p.inputs;
  parameter.regulated = plan_.spec.regulated;
  parameter.averaged = plan_.spec.averaged;
  if (p.layer == none) return parameter;
  parameter.weight = plan_.spec.layers[p.layer].weight;
  parameter.offset = plan_.spec.layers[p.layer].offset;
  return parameter;
}

// As a thread is to see it.
Parameter Program::parameter(int index, int thread) const {
  if (index == 0 && !own_columns_.empty()) return own_columns_[thread].parameter();
  return plan_.parameters[index].turned ? turned_.at(index).parameter() : parameter(index);
}

void Program::make_own_columns() {
  for (int thread = 0; thread < plan_.threads; ++thread) {
    const ParameterPlan& p = plan_.parameters[0];
    own_columns_.emplace_back(parameter(0), p.rows(), with_pads(plan_.owned(units_of(1), thread), p), plan_.spec.dtype);
  }
}

void Program::make_turned_weights() {
  for (int p = 0; p < static_cast<int>(plan_.parameters.size()); ++p)
    if (plan_.parameters[p].turned) turned_.emplace(p, TurnedWeights(parameter(p), plan_.parameters[p], plan_.spec.dtype));
}

double* Program::statistics(int index, int row) const {
  if (index == none) return nullptr;
  const StatisticsPlan& s = plan_.statistics[index];
  return static_cast<double*>(storage_.statistics) + s.offset + row * s.ld;
}

Sink Program::bind_sink(const Step& step, int thread) const {
  if (step.output == none) return {};
  return {data(step.output, thread), ld(step.output), data_or_null(step.saved, thread),
          step.saved == none ? 0 : ld(step.saved), step.activation, step.add};
}

Range Program::columns_of(const Step& step, Range own) const {
  return step.owner == batch_rows ? Range{0, plan_.buffers[step.input].columns} : own;
}

Range Program::rows_of(const Step& step, Range own) const {
  return step.owner == batch_rows ? own : Range{0, plan_.extents[batch_rows]};
}

// Of a parameter: all where its columns are owned, or the rows of the batch.
Range Program::inputs_of(const Step& step, Range own) const {
  const bool all = step.by_columns || step.owner == batch_rows;
  return all ? Range{0, plan_.parameters[step.parameter].inputs} : own;
}

Gather Program::bind_gather(const Step& step, Range rows, int thread) const {
  const Buffer& out = plan_.buffers[step.output];
  const int fault = step.output == input_buffer ? step.other : none;
  return {data(step.output, thread), data_or_null(fault, thread), out.ld, out.columns, {}, nullptr,
          statistics(step.statistics, 0), statistics(step.statistics, 1), rows};
}

DenseForward Program::bind_forward(const Step& step, Range own, int thread) const {
  const ParameterPlan& p = plan_.parameters[step.parameter];
  const Parameter seen = parameter(step.parameter, thread);
  const char* w = static_cast<const char*>(seen.w);
  const Index row_bytes = seen.ld * size_of(plan_.spec.dtype);
  const bool by_rows = step.owner == batch_rows;
  const bool from_user = plan_.spec.in_place && step.input == input_buffer;
  return {data(step.output, thread),
          data_or_null(step.kept, thread),
          ld(step.output),
          from_user ? nullptr : data(step.input, thread),
          ld(step.input),
          w,
          seen.ld,
          p.bias ? w + seen.bias_row * row_bytes : nullptr,
          data_or_null(step.other, thread),
          p.inputs,
          step.activation,
          rows_of(step, own),
          by_rows ? Range{0, p.outputs} : own,
          p.turned};
}

Activate Program::bind_activate(const Step& step, Range own, int thread) const {
  return {data(step.output, thread), ld(step.output),    data(step.input, thread), ld(step.input),
          step.activation,           rows_of(step, own), columns_of(step, own)};
}

Add Program::bind_add(const Step& step, Range own, int thread) const {
  return {data(step.output, thread), ld(step.output), data(step.input, thread), ld(step.input),
          data(step.other, thread),  ld(step.other),  rows_of(step, own),       columns_of(step, own)};
}

PassGradient Program::bind_pass(const Step& step, Range own, int thread) const {
  return {bind_sink(step, thread), data(step.input, thread), ld(step.input), rows_of(step, own), columns_of(step, own)};
}

SoftmaxBackward Program::bind_softmax_gradient(const Step& step, Range own, int thread) const {
  return {data(step.output, thread),
          ld(step.output),
          data(step.input, thread),
          ld(step.input),
          data(step.other, thread),
          ld(step.other),
          plan_.buffers[step.input].columns,
          own};
}

Program::DropoutOf<Dropout> Program::bind_dropout(const Step& step, Range own, int thread) const {
  return {{data(step.output, thread), ld(step.output), data(step.input, thread), ld(step.input),
           plan_.spec.layers[step.layer].number, 0, 0, rows_of(step, own), columns_of(step, own)},
          step.layer};
}

Program::DropoutOf<DropoutGradient> Program::bind_dropout_gradient(const Step& step, Range own, int thread) const {
  return {{bind_sink(step, thread), data(step.input, thread), ld(step.input), plan_.spec.layers[step.layer].number,
           0, 0, rows_of(step, own), columns_of(step, own)},
          step.layer};
}

LayerNorm Program::bind_layer_norm(const Step& step, Range rows, int thread) const {
  return {data(step.output, thread),
          ld(step.output),
          data(step.input, thread),
          ld(step.input),
          parameter(step.parameter),
          data(step.norm.mean, thread),
          data(step.norm.scale, thread),
          plan_.spec.layers[step.layer].number,
          plan_.buffers[step.output].columns,
          rows};
}

LayerNormInputGradient Program::bind_layer_norm_input_gradient(const Step& step, Range rows, int thread) const {
  return {bind_sink(step, thread), data(step.input, thread), ld(step.input), data(step.other, thread), ld(step.other),
          parameter(step.parameter), data(step.norm.mean, thread), data(step.norm.scale, thread),
          plan_.buffers[step.input].columns, rows};
}

LayerNormWeightGradient Program::bind_layer_norm_weight_gradient(const Step& step, Range own, int thread) const {
  return {parameter(step.parameter), data(step.input, thread), ld(step.input), data(step.other, thread),
          ld(step.other), data(step.norm.mean, thread), data(step.norm.scale, thread), plan_.spec.batch, own};
}

// In training a batch's own statistics, unless the layer is frozen.
BatchNorm Program::bind_batch_norm(const Step& step, Range own, int thread) const {
  const LayerSpec& layer = plan_.spec.layers[step.layer];
  const bool running = !plan_.spec.backward || layer.frozen;
  return {data(step.output, thread), ld(step.output), data(step.input, thread), ld(step.input),
          parameter(step.parameter), data_or_null(step.norm.mean, thread), data_or_null(step.norm.variance, thread),
          data_or_null(step.norm.scale, thread), running ? statistics(step.statistics, 0) : nullptr,
          running ? statistics(step.statistics, 1) : nullptr, layer.number, rows_of(step, own), columns_of(step, own)};
}

BatchNormGradient Program::bind_batch_norm_gradient(const Step& step, Range own, int thread) const {
  const bool frozen = plan_.spec.layers[step.layer].frozen;
  return {bind_sink(step, thread), parameter(step.parameter), data(step.input, thread), ld(step.input),
          data(step.other, thread), ld(step.other), data(step.norm.mean, thread), data(step.norm.scale, thread),
          plan_.spec.batch, frozen, frozen, own};
}

CommitStatistics Program::bind_commit_statistics(const Step& step, Range own, int thread) const {
  return {statistics(step.statistics, 0), statistics(step.statistics, 1), data(step.norm.mean, thread),
          data(step.norm.variance, thread), plan_.spec.layers[step.layer].momentum, plan_.spec.batch, own};
}

RowLoss Program::bind_loss(const Step& step, Range rows, int thread) const {
  const bool labels = plan_.spec.targets == Targets::labels;
  const char* targets = data(step.other, thread);
  return {data(plan_.find("loss"), thread),
          data(step.output, thread),
          ld(step.output),
          data(step.input, thread),
          ld(step.input),
          labels ? targets : nullptr,
          labels ? nullptr : targets,
          ld(step.other),
          data_or_null(plan_.find("weight"), thread),
          data_or_null(plan_.find("fault"), thread),
          0.0,
          plan_.spec.loss,
          storage_.loss_parameter,
          plan_.spec.smoothing,
          plan_.buffers[step.output].columns,
          rows};
}

DenseInputGradient Program::bind_input_gradient(const Step& step, Range own, int thread) const {
  const ParameterPlan& p = plan_.parameters[step.parameter];
  const Parameter seen = parameter(step.parameter, thread);
  return {bind_sink(step, thread),
          data(step.input, thread),
          ld(step.input),
          seen.w,
          seen.ld,
          data(plan_.find("scratch"), thread),
          plan_.spec.batch,
          p.outputs,
          rows_of(step, own),
          step.owner == batch_rows ? Range{0, p.inputs} : own,
          p.turned};
}

DenseWeightGradient Program::bind_weight_gradient(const Step& step, Range own, int thread) const {
  const ParameterPlan& p = plan_.parameters[step.parameter];
  const bool from_user = plan_.spec.in_place && step.other == input_buffer;
  const Range inputs = inputs_of(step, own);
  Parameter seen = parameter(step.parameter, thread);
  if (plan_.in_chunks()) seen.g = data(sums_, thread) + p.offset * size_of(plan_.spec.dtype);
  return {seen,
          from_user ? nullptr : data(step.other, thread),
          ld(step.other),
          data(step.input, thread),
          ld(step.input),
          data(plan_.find("scratch"), thread),
          plan_.extents[batch_rows],
          p.bias && inputs.end == p.inputs,
          plan_.spec.fused ? plan_.spec.rule : Rule::none,
          nullptr,
          inputs,
          step.by_columns ? own : Range{0, p.outputs},
          p.turned};
}

Program::Commit Program::bind_commit(int thread) const {
  return {{data_or_null(plan_.find("weight"), thread), data(plan_.find("loss"), thread), plan_.spec.batch},
          records(thread)};
}

// The thread that owns the last inputs owns the row of bias as well; the one of the last columns, their pads.
Update Program::bind_update(const Step& step, Range own) const {
  const ParameterPlan& p = plan_.parameters[step.parameter];
  const Range inputs = inputs_of(step, own), rows = {inputs.begin, inputs.end == p.inputs ? p.rows() : inputs.end};
  return {parameter(step.parameter), plan_.spec.rule, nullptr, rows,
          step.by_columns ? with_pads(own, p) : Range{0, p.ld}};
}

Program::Tasks Program::bind_all() const {
  Tasks tasks;
  for (int thread = 0; thread < plan_.threads; ++thread) {
    tasks.emplace_back();
    for (const Step& step : plan_.steps) tasks.back().push_back(bind(step, thread));
  }
  return tasks;
}

Program::Task Program::bind(const Step& step, int thread) const {
  const Range own = step.kind == Kind::gram ? own_of_gram(step, thread) : plan_.owned(step.owner, thread);
  if (own.begin == own.end) return Nothing{};
  switch (step.kind) {
    case Kind::gather:
      if (step.output == input_buffer) return GatherInput{bind_gather(step, own, thread)};
      return GatherTargets{bind_gather(step, own, thread)};
    case Kind::gather_labels:
      return GatherLabels{data(step.output, thread), plan_.buffers[step.other].columns, {}, nullptr, own};
    case Kind::gather_weights: return GatherWeights{bind_gather(step, {0, plan_.spec.batch}, thread)};
    case Kind::dense_forward: return bind_forward(step, own, thread);
    case Kind::activate: return bind_activate(step, own, thread);
    case Kind::add: return bind_add(step, own, thread);
    case Kind::dropout: return bind_dropout(step, own, thread);
    case Kind::layer_norm: return bind_layer_norm(step, own, thread);
    case Kind::batch_norm: return bind_batch_norm(step, own, thread);
    case Kind::row_loss: return bind_loss(step, own, thread);
    case Kind::pass_gradient: return bind_pass(step, own, thread);
    case Kind::softmax_gradient: return bind_softmax_gradient(step, own, thread);
    case Kind::dropout_gradient: return bind_dropout_gradient(step, own, thread);
    case Kind::input_gradient: return bind_input_gradient(step, own, thread);
    case Kind::weight_gradient: return bind_weight_gradient(step, own, thread);
    case Kind::layer_norm_input_gradient: return bind_layer_norm_input_gradient(step, own, thread);
    case Kind::layer_norm_weight_gradient: return bind_layer_norm_weight_gradient(step, own, thread);
    case Kind::batch_norm_gradient: return bind_batch_norm_gradient(step, own, thread);
    case Kind::commit: return bind_commit(thread);
    case Kind::commit_statistics: return bind_commit_statistics(step, own, thread);
    case Kind::update: return bind_update(step, own);
    case Kind::block_product: return BlockProduct{bind_forward(step, own, thread)};
    case Kind::gram: return bind_gram(step, own, thread);
    case Kind::block_forward: return bind_block_forward(step, own, thread);
    case Kind::keep_step: return bind_keep_step(step, own, thread);
    case Kind::block_update: return BlockUpdate{bind_weight_gradient(step, own, thread)};
  }
  return Nothing{};
}

}  // namespace thalweg

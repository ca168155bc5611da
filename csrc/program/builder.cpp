#include "program/builder.hpp"

#include <algorithm>

#include "program/chunks.hpp"
#include "program/layout.hpp"

namespace thalweg {

Plan build_plan(const Spec& spec, const Schedule& schedule) { return Builder(spec, schedule).build(); }

Builder::Builder(const Spec& spec, const Schedule& schedule) : graph_(spec), schedule_(schedule) {
  plan_.spec = spec;
  plan_.spec.in_place = spec.in_place && spec.block == 1 && layers() > 0 && graph_.only_dense_reads_input && !spec.standardize;
  plan_.threads = schedule.threads;
  plan_.schedule = schedule.name;
  plan_.parameters = plan_parameters(spec);
  turn_narrow_layers();
  plan_.statistics = plan_statistics(spec);
  plan_.own_columns = own_columns();
  plan_.steps_by_one = schedule.steps_by_one;
  owner_.push_back(batch_rows);
  for (int l = 0; l < layers(); ++l) owner_.push_back(owner_of_output(l));
}

Plan Builder::build() && {
  if (spec().flat > 0) {
    flat_update();
  } else {
    value_buffers();
    norm_buffers();
    loss_buffers();
    parameter_buffers();
    block_buffers();
    gather_weights();
    if (in_block()) begin_block();
    plan_.meanwhile = static_cast<int>(plan_.steps.size());
    if (steps_by_one()) gram();
    set_mark(begin);
    if (!in_block()) gather();
    for (int l = 0; l < layers(); ++l) forward(l);
    set_mark(forwarded);
    loss();
    set_mark(measured);
    backward();
    commit_statistics();
    updates();
    if (in_block()) end_block();
    lay_apart();
  }
  place_barriers(plan_);
  place_buffers(plan_);
  return std::move(plan_);
}

// ---- owners -----------------------------------------------------------------------------------------------------

// Who makes the values that layer l puts out, and their gradient: an elementwise layer goes with what it reads.
Space Builder::owner_of_output(int l) const {
  const LayerSpec& it = layer(l);
  if (steps_by_one() || in_chunks()) return batch_rows;
  if (it.kind == LayerKind::dense) return by_columns(l) ? units_of(l + 1) : batch_rows;
  if (it.kind == LayerKind::layer_norm) return batch_rows;
  const bool of_batch = it.kind == LayerKind::batch_norm && spec().backward;
  if (of_batch) return units_of(l + 1);
  const bool rows = owner_[it.input] == batch_rows || (it.other != none && owner_[it.other] == batch_rows);
  return rows || !(elementwise(it) || it.kind == LayerKind::batch_norm) ? batch_rows : units_of(l + 1);
}

// Weights of a dense layer by its columns, as its outputs, or else by its rows (the units below), of which each thread
// then reads all; or one thread has them with all rows of the batch.
Space Builder::owner_of_weights(int l) const {
  if (by_columns(l)) return units_of(l + 1);
  return steps_by_one() ? batch_rows : units_of(layer(l).input);
}

// Whether threads that own columns of the first layer move them out of each other's way for a slice. Nothing else reads
// that layer's weights; moving larger ones takes longer than it saves.
bool Builder::own_columns() const {
  constexpr Index largest = 2 << 20;  // bytes
  if (!spec().many_steps || plan_.threads == 1 || !spec().fused || layers() == 0) return false;
  const bool first = layer(0).kind == LayerKind::dense && trains(layer(0)) && layer(0).input == 0;
  if (!first || !by_columns(0) || graph_.wanted[0]) return false;
  return plan_.parameters[0].rows() * plan_.parameters[0].ld * size_of(spec().dtype) <= largest;
}

// Each thread gathers all rows for itself where it then works by columns.
bool Builder::private_input() const {
  if (spec().in_place || !graph_.only_dense_reads_input) return false;
  return layers() > 0 && by_columns(0);
}

// ---- buffers ----------------------------------------------------------------------------------------------------

int Builder::add_matrix(const std::string& name, Index rows, Index columns, bool per_thread) {
  const bool own = per_thread || in_chunks();
  plan_.buffers.push_back({name, rows, columns, leading_dimension(columns, spec().dtype), own, true, 0});
  return static_cast<int>(plan_.buffers.size()) - 1;
}

// One number a row, without pads.
int Builder::add_column(const std::string& name, Index rows, bool per_thread) {
  plan_.buffers.push_back({name, rows, 1, 1, per_thread || in_chunks(), true, 0});
  return static_cast<int>(plan_.buffers.size()) - 1;
}

int Builder::add_outside(const std::string& name, Index rows, Index columns) {
  plan_.buffers.push_back({name, rows, columns, columns, false, false, 0});
  return static_cast<int>(plan_.buffers.size()) - 1;
}

void Builder::value_buffers() {
  plan_.extents.push_back(rows());
  for (int v = 0; v < graph_.values(); ++v) {
    const std::string number = std::to_string(v);
    const Index width = graph_.width[v];
    plan_.extents.push_back(width);
    const Index height = v == 0 && in_block() ? block_rows() : rows();
    value_.push_back(add_matrix(v == 0 ? "x" : "y" + number, height, width, v == 0 && private_input()));
    const bool last = v == last_value();
    const bool wanted = spec().backward ? graph_.wanted[v] || last : last && spec().loss != Loss::none;
    gradient_.push_back(wanted ? add_matrix(v == 0 ? "dx" : "dy" + number, rows(), width) : none);
    const Activation activation = v == 0 ? Activation::identity : layer(v - 1).activation;
    saved_.push_back(activation == Activation::identity || activation == Activation::softmax ? none : value_[v]);
    if (!spec().backward || !keeps_input(activation)) continue;
    const bool dense = layer(v - 1).kind == LayerKind::dense;
    saved_[v] = dense ? add_matrix("z" + number, rows(), width) : value_[layer(v - 1).input];
  }
  sent_.resize(graph_.values());
}

// A layer norm keeps its rows' statistics wherever it runs, batch norm those of a batch in training alone.
void Builder::norm_buffers() {
  norm_.resize(layers());
  for (int l = 0; l < layers(); ++l) {
    const std::string number = std::to_string(l + 1);
    const Index units = layer(l).units;
    if (layer(l).kind == LayerKind::layer_norm)
      norm_[l] = {add_column("mean" + number, rows()), none, add_column("scale" + number, rows())};
    if (layer(l).kind == LayerKind::batch_norm && spec().backward)
      norm_[l] = {add_matrix("mean" + number, 1, units), add_matrix("variance" + number, 1, units),
                  add_matrix("scale" + number, 1, units)};
  }
}

// Losses and weights of rows are kept for the whole batch.
void Builder::loss_buffers() {
  if (spec().loss == Loss::none) return;
  const bool labels = spec().targets == Targets::labels;
  targets_ = labels ? add_column("labels", rows()) : add_matrix("targets", rows(), graph_.width.back());
  loss_ = add_column("loss", spec().batch);
  plan_.buffers[loss_].per_thread = false;
  fault_ = layers() > 0 ? add_column("fault", rows()) : none;
  row_weight_ = spec().weighted ? add_column("weight", spec().batch, true) : none;
}

void Builder::parameter_buffers() {
  for (const ParameterPlan& p : plan_.parameters) {
    const std::string number = std::to_string(weight_.size() + 1);
    weight_.push_back(add_outside("w" + number, p.rows(), p.ld));
    weight_gradient_.push_back(add_outside("dw" + number, p.rows(), p.ld));
  }
  scratch_ = add_matrix("scratch", 1, scratch_elements(), true);
  if (in_chunks()) add_matrix("sums", waiting_sums, parameter_elements(plan_.parameters), true);
}

// What is inside the network and touched by columns lies apart for each thread: where these lie side by side, the
// hardware's prefetcher keeps fetching the neighbour's lines (docs/speed.md).
void Builder::lay_apart() {
  if (plan_.threads == 1) return;
  for (int v = 1; v < last_value(); ++v) {
    lay_apart({gradient_[v]}, v);
    lay_apart({value_[v], saved_[v]}, v);  // a product writes both with one leading dimension
  }
}

// All of the buffers or none.
void Builder::lay_apart(const std::vector<int>& buffers, int v) {
  const auto by_columns = [&](int b) { return b == none || touched_by_columns(b, v); };
  if (!std::all_of(buffers.begin(), buffers.end(), by_columns)) return;
  Index widest = 0;
  for (int thread = 0; thread < plan_.threads; ++thread) {
    const Range own = plan_.owned(units_of(v), thread);
    widest = std::max(widest, own.end - own.begin);
  }
  for (int b : buffers) {
    if (b == none) continue;
    plan_.buffers[b].per_thread = true;
    plan_.buffers[b].apart = units_of(v);
    plan_.buffers[b].ld = leading_dimension(widest, spec().dtype);
  }
}

// Whether no thread touches more of a buffer than its own units of value v.
bool Builder::touched_by_columns(int buffer, int v) const {
  for (const Step& step : plan_.steps)
    for (const Access& access : step.accesses)
      if (access.buffer == buffer && !plan_.alike(access, {buffer, units_of(v), true})) return false;
  return true;
}

Index Builder::scratch_elements() const {
  const Index batch = in_block() ? std::max(rows(), block_rows()) : rows();  // a block's update has all its rows
  Index most = 1;
  for (const ParameterPlan& p : plan_.parameters) {
    most = std::max(most, input_gradient_scratch(p.outputs));
    most = std::max(most, weight_gradient_scratch(p.inputs, batch));
  }
  return spec().backward ? most : 1;
}

// ---- steps ------------------------------------------------------------------------------------------------------

Step& Builder::add_step(Kind kind, Space owner, std::vector<Access> accesses, double flops) {
  Step step{};
  step.kind = kind;
  step.owner = owner;
  step.accesses = std::move(accesses);
  step.flops = flops;
  plan_.steps.push_back(std::move(step));
  return plan_.steps.back();
}

// A step of a layer from its input to its output.
Step& Builder::add_layer_step(Kind kind, int l, Space owner, std::vector<Access> accesses, double flops_per_element) {
  accesses.push_back({value_[layer(l).input], owner, false});
  accesses.push_back({value_[l + 1], owner, true});
  Step& step = add_step(kind, owner, std::move(accesses), flops_per_element * rows() * graph_.width[l + 1]);
  step.layer = l;
  step.input = value_[layer(l).input];
  step.output = value_[l + 1];
  step.activation = layer(l).activation;
  step.parameter = graph_.parameter[l];
  step.statistics = graph_.statistics[l];
  step.norm = norm_[l];
  return step;
}

double Builder::product_flops(int l) const {
  const ParameterPlan& p = plan_.parameters[graph_.parameter[l]];
  return 2.0 * rows() * p.inputs * p.outputs;
}

// Before the mark `begin`, since a batch may come in chunks: its weights are summed before the first of them.
void Builder::gather_weights() {
  if (row_weight_ == none) return;
  Step& weights = add_step(Kind::gather_weights, every_thread, {{row_weight_, every_thread, true}}, 0);
  weights.output = row_weight_;
}

void Builder::gather() {
  if (spec().in_place) return;
  const Space owner = private_input() ? every_thread : batch_rows;
  Step& gather = add_step(Kind::gather, owner, {{value_[0], owner, true}}, 10.0 * rows() * spec().inputs);
  gather.output = value_[0];
  if (fault_ != none && layer(0).kind != LayerKind::dense) {  // what comes first may hide a NaN or infinity
    gather.other = fault_;
    gather.accesses.push_back({fault_, owner, true});
  }
  gather.statistics = spec().standardize ? 0 : none;
}

void Builder::dense_forward(int l) {
  const Space owner = owner_[l + 1];
  const int p = graph_.parameter[l], in = layer(l).input, kept = keeps_input(layer(l).activation) ? saved_[l + 1] : none;
  const bool finds_faults = l == 0 && fault_ != none;  // in the product's epilogue, for rows read in place too
  std::vector<Access> accesses = {
      {value_[in], needed(owner), false}, {weight_[p], part_of_parameter(owner), false}, {value_[l + 1], owner, true}};
  if (finds_faults) accesses.push_back({fault_, owner, true});
  const bool keeps = spec().backward && kept != none;
  if (keeps) accesses.push_back({kept, owner, true});
  Step& step = add_step(Kind::dense_forward, owner, std::move(accesses), product_flops(l));
  step.input = value_[in];
  step.output = value_[l + 1];
  step.other = finds_faults ? fault_ : none;
  step.kept = keeps ? kept : none;
  step.parameter = p;
  step.activation = layer(l).activation;
}

void Builder::norm_forward(int l) {
  const Space owner = owner_[l + 1];
  std::vector<Access> accesses = {{weight_[graph_.parameter[l]], part_of_parameter(owner), false}};
  for (int buffer : {norm_[l].mean, norm_[l].variance, norm_[l].scale})
    if (buffer != none) accesses.push_back({buffer, owner, true});
  const bool by_rows = layer(l).kind == LayerKind::layer_norm;
  add_layer_step(by_rows ? Kind::layer_norm : Kind::batch_norm, l, owner, std::move(accesses), 10);
}

void Builder::loss() {
  if (spec().loss == Loss::none) return;
  const Kind kind = spec().targets == Targets::labels ? Kind::gather_labels : Kind::gather;
  Step& targets = add_step(kind, batch_rows, {{targets_, batch_rows, true}}, 0);
  targets.output = targets_;
  targets.other = value_.back();
  std::vector<Access> accesses = {{value_.back(), batch_rows, false},
                                  {targets_, batch_rows, false},
                                  {gradient_.back(), batch_rows, true},
                                  {loss_, batch_rows, true}};
  if (fault_ != none) accesses.push_back({fault_, batch_rows, false});
  Step& loss = add_step(Kind::row_loss, batch_rows, std::move(accesses), 30.0 * rows() * graph_.width.back());
  loss.input = value_.back();
  loss.other = targets_;
  loss.output = gradient_.back();
}

// ---- after the decision -----------------------------------------------------------------------------------------

void Builder::commit_statistics() {
  if (spec().backward)
    for (int l = 0; l < layers(); ++l) {
      if (layer(l).kind != LayerKind::batch_norm || layer(l).frozen) continue;
      const Space owner = owner_[l + 1];
      Step& step = add_step(Kind::commit_statistics, owner,
                            {{norm_[l].mean, owner, false}, {norm_[l].variance, owner, false}}, 0);
      step.layer = l;
      step.statistics = graph_.statistics[l];
      step.norm = norm_[l];
    }
  set_mark(recorded);
}

// What no fused weight gradient has updated.
void Builder::updates() {
  if (spec().rule != Rule::none)
    for (int l = layers() - 1; l >= 0; --l) {
      const bool dense = layer(l).kind == LayerKind::dense;
      if (!trains(layer(l)) || (dense && spec().fused)) continue;
      const int p = graph_.parameter[l];
      const Space owner = dense ? owner_of_weights(l) : units_of(l + 1);
      Step& step = add_step(Kind::update, owner, {{weight_gradient_[p], owner, false}, {weight_[p], owner, true}},
                            10.0 * plan_.parameters[p].rows() * plan_.parameters[p].ld);
      step.by_columns = !dense || by_columns(l);
      step.parameter = p;
    }
  set_mark(updated);
}

void Builder::flat_update() {
  plan_.extents = {0, spec().flat};
  const int weight = add_outside("w1", 1, spec().flat), gradient = add_outside("dw1", 1, spec().flat);
  Step& step = add_step(Kind::update, units_of(0), {{gradient, units_of(0), false}, {weight, units_of(0), true}},
                        10.0 * spec().flat);
  step.parameter = 0;
  step.by_columns = true;
  set_mark(updated);
}

}  // namespace thalweg

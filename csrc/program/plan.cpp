// Checks a spec, has a plan built for each schedule, and keeps the cheapest.
#include "program/plan.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "program/builder.hpp"
#include "program/chunks.hpp"
#include "program/graph.hpp"
#include "program/schedule.hpp"

namespace thalweg {

namespace {

void check_layer(const LayerSpec& layer, const std::vector<Index>& width) {
  const int last = static_cast<int>(width.size()) - 1;
  require(layer.units >= 1, "a layer has at least one unit, got ", layer.units);
  require(layer.input >= 0 && layer.input <= last, "a layer reads a value before it, got value ", layer.input);
  require((layer.kind == LayerKind::add) == (layer.other != none), "add, and only add, reads two values");
  require(layer.other <= last, "a layer reads a value before it, got value ", layer.other);
  const bool keeps = layer.kind == LayerKind::dense || layer.units == width[layer.input];
  require(keeps, "a layer without a product keeps its width ", width[layer.input], ", got ", layer.units);
  require(layer.other == none || layer.units == width[layer.other], "add needs two values of one width");
}

void check_layers(const Spec& spec) {
  std::vector<Index> width{spec.inputs};
  for (const LayerSpec& layer : spec.layers) {
    check_layer(layer, width);
    width.push_back(layer.units);
  }
}

bool may_block(const Spec& spec) {
  const Graph graph(spec);
  const bool first = !spec.layers.empty() && spec.layers[0].kind == LayerKind::dense && trains(spec.layers[0]);
  const bool plain = spec.rule == Rule::sgd && !spec.regulated && !spec.averaged && !spec.weighted && !spec.input_gradient;
  const Index rows = spec.batch * spec.block;
  return first && plain && spec.fused && spec.loss != Loss::none && graph.readers[0] == 1 && rows <= rows_per_chunk;
}

void check(const Spec& spec, const Machine& machine) {
  require(machine.threads >= 1, "threads must be at least 1, got ", machine.threads);
  if (spec.flat > 0) return;
  require(spec.batch >= 1, "a batch has at least one row, got ", spec.batch);
  require(spec.inputs >= 1, "a model has at least one input, got ", spec.inputs);
  check_layers(spec);
  require((spec.loss == Loss::none) == (spec.targets == Targets::none), "a loss and its targets go together");
  require(spec.targets != Targets::labels || spec.loss == Loss::cross_entropy, "labels are for cross_entropy");
  require(spec.rule == Rule::none || spec.backward, "a rule needs gradients");
  require(!spec.fused || spec.rule != Rule::none, "a fused plan needs a rule");
  require(spec.block >= 1 && (spec.block == 1 || may_block(spec)), "blocks of ", spec.block, " steps are for fused SGD ",
          "without penalties or row weights, whose first layer is dense, trained, and alone in reading x");
}

}  // namespace

Range Plan::owned(Space space, int thread) const {
  if (space == every_thread) return {0, extents[batch_rows] * spec.block};
  if (space == batch_rows && in_chunks()) return {0, extents[batch_rows]};
  const Index extent = extents[space], grains = (extent + padding - 1) / padding;
  const auto cut = [&](Index t) { return std::min(extent, grains * t / threads * padding); };
  return {cut(thread), cut(thread + 1)};
}

bool Plan::alike(const Access& a, const Access& b) const {
  if (a.space == b.space) return true;
  const bool of_units = a.space > batch_rows && b.space > batch_rows && buffers[a.buffer].in_arena;
  return of_units && extents[a.space] == extents[b.space];
}

// Those outside the marks come once a block; steps by one thread begin and end with one, chunks begin with one.
double Plan::barriers_a_step() const {
  int inside = in_chunks() ? 1 : 0, outside = steps_by_one ? 2 : 0;
  for (int i = 0; i < static_cast<int>(steps.size()); ++i)
    (in_rounds(i) ? inside : outside) += steps[i].barrier;
  return inside + double(outside) / spec.block;
}

bool Plan::turns_weights() const {
  return std::any_of(parameters.begin(), parameters.end(), [](const ParameterPlan& p) { return p.turned; });
}

Index Plan::times_a_round(int step) const {
  const bool for_each = in_chunks() && step >= marks[begin] && step < marks[differentiated];
  return for_each ? (chunks() + threads - 1) / threads : 1;
}

int Plan::find(const std::string& buffer) const {
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].name == buffer) return static_cast<int>(i);
  return none;
}

// Where a training decides whether weights change: there is no stop from here on. The end, where there is no such step.
static size_t commit_of(const Plan& plan) {
  size_t commit = 0;
  while (commit < plan.steps.size() && plan.steps[commit].kind != Kind::commit) ++commit;
  return commit;
}

static double update_us(const Plan& plan, Index lanes) {
  double us = 0;
  for (size_t i = commit_of(plan); i < plan.steps.size(); ++i) us += compute_us(plan, plan.steps[i], lanes);
  return us;
}

// A long step's kernels are called for pieces of some 10 ms, as long as it can be stopped. Whoever has left a piece undone
// is heard of at a last barrier.
static Plan in_pieces(Plan plan, Index lanes) {
  const size_t end = commit_of(plan);
  plan.long_step = true;
  for (size_t i = 0; i < end; ++i)
    plan.steps[i].pieces = 1 + static_cast<int>(compute_us(plan, plan.steps[i], lanes) / piece_us);
  if (end < plan.steps.size()) plan.steps[end].barrier = plan.threads > 1;
  return plan;
}

Plan make_plan(const Spec& spec, const Machine& machine, Index lanes) {
  check(spec, machine);
  Plan best;
  std::string considered;
  for (const Schedule& schedule : schedules(spec, machine)) {
    Plan plan = build_plan(schedule.in_chunks ? chunked(spec) : spec, schedule);
    plan.price = price_of(plan, machine, lanes);
    considered += describe_price(plan);
    const double margin = plan.threads > best.threads ? worth_threads : 1;
    if (best.steps.empty() || plan.price.total() < margin * best.price.total()) best = std::move(plan);
  }
  best.considered = considered;
  if (best.price.compute_us < long_step_us || spec.block > 1) return best;  // a block is not stopped inside
  if (!spec.fused || update_us(best, lanes) < long_update_us) return in_pieces(std::move(best), lanes);
  Spec unfused = spec;  // so that a stop can come before the first update: all gradients, then all updates
  unfused.fused = false;
  return make_plan(unfused, machine, lanes);
}

}  // namespace thalweg

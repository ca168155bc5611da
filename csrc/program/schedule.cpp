// Prices are for choosing between schedules, not for predicting seconds. The choice never changes the bits: every output
// has one owner, and the order of its sum follows from layer sizes and batch rows alone.
#include "program/schedule.hpp"

#include <algorithm>
#include <cstdio>

#include "program/chunks.hpp"

namespace thalweg {

namespace {

// Columns are worth owning from one tile a thread on.
bool wide(const LayerSpec& layer, int threads) { return layer.kind == LayerKind::dense && layer.units >= 32 * threads; }

// All rows of a step are one thread's, and no layer cuts anything but rows.
bool may_step_alone(const Spec& spec) {
  const auto cuts_rows = [](const LayerSpec& layer) { return layer.kind == LayerKind::dense || !has_parameter(layer.kind); };
  return spec.batch <= padding && std::all_of(spec.layers.begin(), spec.layers.end(), cuts_rows);
}

}  // namespace

double busiest_share(const Plan& plan, Space owner) {
  if (owner == every_thread) return 1;
  Index most = 0, all = std::max<Index>(1, plan.extents[owner]);
  for (int t = 0; t < plan.threads; ++t) {
    const Range own = plan.owned(owner, t);
    most = std::max(most, own.end - own.begin);
  }
  return double(most) / all;
}

// What a product computes, in units of what it is wanted for: outputs come in whole vectors, their gradients in whole pads.
static double whole_outputs(const Plan& plan, const Step& step, Index lanes) {
  const bool forward = step.kind == Kind::dense_forward || step.kind == Kind::block_product;
  if (!forward && step.kind != Kind::weight_gradient && step.kind != Kind::block_update) return 1;
  const Index outputs = plan.parameters[step.parameter].outputs, of = forward ? lanes : padding;
  return double((outputs + of - 1) / of * of) / outputs;
}

double compute_us(const Plan& plan, const Step& step, Index lanes) {
  const double flops = step.flops * whole_outputs(plan, step, lanes);
  return flops * busiest_share(plan, step.owner) / flops_per_us(lanes, plan.spec.dtype);
}

std::vector<Schedule> schedules(const Spec& spec, const Machine& machine) {
  const size_t layers = spec.layers.size();
  const bool block = spec.block > 1;  // there the first layer's columns are owned, however few
  std::vector<Schedule> all;
  if (may_chunk(spec, machine.threads)) return {{"chunks", machine.threads, std::vector<bool>(layers, false), false, true}};
  if (machine.threads == 1 || !machine.exactly) all.push_back({"one thread", 1, std::vector<bool>(layers, block)});
  if (machine.threads == 1) return all;
  const int threads = machine.threads;
  if (!block) all.push_back({"rows", threads, std::vector<bool>(layers, false)});
  size_t lowest = 0;
  while (lowest < layers && spec.layers[lowest].kind != LayerKind::dense) ++lowest;
  if (lowest == layers || !(block || wide(spec.layers[lowest], threads))) return all;
  Schedule first{"columns first", threads, std::vector<bool>(layers, false)}, columns{"columns", threads, {}};
  first.by_columns[lowest] = true;
  for (const LayerSpec& layer : spec.layers) columns.by_columns.push_back(wide(layer, threads));
  columns.by_columns[lowest] = true;
  if (columns.by_columns != first.by_columns) all.push_back(first);
  all.push_back(columns);
  if (block && may_step_alone(spec)) all.push_back({"steps by one", threads, first.by_columns, true});
  return all;
}

namespace {

// How a buffer was last written before a step, and in which, walking back round the loop; by every thread if never.
struct Write {
  Access access;
  size_t step;
};
Write last_write(const Plan& plan, size_t step, int buffer) {
  const size_t n = plan.steps.size();
  for (size_t back = 1; back <= n; ++back)
    for (const Access& access : plan.steps[(step + n - back) % n].accesses)
      if (access.buffer == buffer && access.write) return {access, (step + n - back) % n};
  return {{buffer, every_thread, true}, step};
}

// Bytes that one thread reads of what others wrote, in one round of the steps. What is made or read once a block crosses
// once a block.
double crossing_bytes(const Plan& plan) {
  const double element = size_of(plan.spec.dtype), others = 1 - 1.0 / plan.threads;
  double bytes = 0;
  for (size_t s = 0; s < plan.steps.size(); ++s)
    for (const Access& read : plan.steps[s].accesses) {
      const Buffer& buffer = plan.buffers[read.buffer];
      if (read.write || buffer.per_thread) continue;
      const Write write = last_write(plan, s, read.buffer);
      if (write.access.space == every_thread || plan.alike(write.access, read)) continue;
      const double part = read.space == whole ? 1 : 1.0 / plan.threads;
      const bool every_round = plan.in_rounds(static_cast<int>(s)) && plan.in_rounds(static_cast<int>(write.step));
      const double times = every_round ? 1 : 1.0 / plan.spec.block;
      bytes += buffer.rows * buffer.ld * element * part * others * times;
    }
  return bytes;
}

// A training runs many steps in one parallel region; anything else starts the threads for one.
constexpr double start_us = 5;
bool is_training(const Spec& spec) { return spec.backward && spec.flat == 0; }

}  // namespace

Price price_of(const Plan& plan, const Machine& machine, Index lanes) {
  const double line_us = machine.barrier_ns * 0.1e-3;  // prefetched transfers of lines overlap about tenfold
  Price price{};
  double rounds = 0, meanwhile = 0;
  for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i) {
    const bool aside = i >= plan.meanwhile && i < plan.marks[begin];
    (aside ? meanwhile : plan.in_rounds(i) ? rounds : price.compute_us) +=
        plan.times_a_round(i) * compute_us(plan, plan.steps[i], lanes);
  }
  price.compute_us += std::max(rounds, meanwhile);
  const double barriers = plan.barriers_a_step();
  price.barriers_us = barriers * machine.barrier_ns * 4e-3;  // threads never arrive together
  if (plan.threads > 1 && !is_training(plan.spec)) price.barriers_us += start_us;
  if (plan.threads > 1) price.crossing_us = crossing_bytes(plan) / 64 * line_us;
  return price;
}

std::string describe_price(const Plan& plan) {
  char line[160];
  std::snprintf(line, sizeof line, "  %-14s %2d threads  %10.2f us = compute %.2f + crossing %.2f + barriers %.2f\n",
                plan.schedule.c_str(), plan.threads, plan.price.total(), plan.price.compute_us,
                plan.price.crossing_us, plan.price.barriers_us);
  return line;
}

}  // namespace thalweg

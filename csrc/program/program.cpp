// Walks every thread through the steps of a slice. Threads meet at the plan's barriers, and around steps by one.
#include "program/program.hpp"

#include <algorithm>
#include <cmath>

#include "base/rng.hpp"

namespace thalweg {

void Tally::count(double loss_of_step, double weight_of_step) {
  loss = loss_of_step;
  weight = weight_of_step;
  if (!std::isfinite(loss)) return;
  loss_sum += loss * weight;
  weight_sum += weight;
}

Program::Program(const Plan& plan, const KernelTable& table, const Storage& storage)
    : plan_(plan), table_(table), storage_(storage), arena_(plan.arena_bytes()), barrier_(plan.threads), sums_(plan.find("sums")) {
  if (plan_.own_columns) make_own_columns();
  make_turned_weights();
  tasks_ = bind_all();
  if (plan_.in_chunks()) bind_rest();
}

Outcome Program::run(const Slice& slice, Mark from, Mark to) noexcept {
  stop_ = false;
  outcome_ = {0, Status::done};
  asked_ = std::chrono::steady_clock::now();
  if (!run_threads(plan_.threads, [&](int thread) { walk(slice, thread, from, to); })) return {0, Status::no_threads};
  if (stop_) outcome_.status = Status::stopped;
  return outcome_;
}

double Program::gradient_squares() const noexcept {
  double sum = 0;
  for (size_t p = 0; p < plan_.parameters.size(); ++p) {
    const ParameterPlan& it = plan_.parameters[p];
    if (!plan_.spec.layers[it.layer].frozen)
      sum += table_.sum_squares({parameter(static_cast<int>(p)).g, it.rows() * it.ld});
  }
  return sum;
}

void Program::walk(const Slice& slice, int thread, Mark from, Mark to) {
  take_weights(thread);
  Slice pass = slice;
  for (Index number = 0; number < slice.passes; ++number) {
    if (walk_pass(pass, thread, from, to) == Next::end) break;
    pass.scalars += slice.steps * slice.scalars_per_step;
    pass.step += slice.steps;
    if (pass.tally) ++pass.tally;
  }
  give_weights(thread);
}

// The threads meet before it: what they tell each other of places in the order begins anew.
Program::Next Program::walk_pass(const Slice& slice, int thread, Mark from, Mark to) {
  barrier_.wait(thread, false);
  if (thread == 0) gram_made_.reach(slice.first);
  barrier_.wait(thread, false);
  Moment moment{slice, thread};
  moment.row = slice.first;
  moment.weight_sum = double(plan_.spec.batch);
  Next next = Next::step;
  while (moment.round < slice.steps && next != Next::end) next = walk_block(moment, from, to);
  if (thread == 0) outcome_.steps += moment.round;
  return next;
}

// To where kernels are to find them,
void Program::take_weights(int thread) {
  if (!own_columns_.empty()) own_columns_[thread].take();
  if (turned_.empty()) return;
  if (thread == 0)
    for (const auto& [parameter, turned] : turned_) turned.take();
  barrier_.wait(thread, false);
}

// and back.
void Program::give_weights(int thread) {
  if (!own_columns_.empty()) own_columns_[thread].give();
  if (turned_.empty()) return;
  barrier_.wait(thread, false);
  if (thread == 0)
    for (const auto& [parameter, turned] : turned_) turned.give();
}

// A block that ends early still updates with the steps that it has made.
Program::Next Program::walk_block(Moment& moment, Mark from, Mark to) {
  moment.block_rows = std::min(plan_.spec.block, moment.slice.steps - moment.round) * plan_.spec.batch;
  moment.block_x = place_of_block(moment);
  if (from == begin) walk_steps(moment, 0, plan_.meanwhile);
  const Next next = plan_.steps_by_one ? one_walks_rounds(moment, from, to) : walk_rounds(moment, from, to);
  moment.block_rows = moment.row_in_block;
  walk_steps(moment, plan_.marks[updated], static_cast<int>(plan_.steps.size()));
  return next;
}

// The rounds of a block, of which a plan without blocks has one.
Program::Next Program::walk_rounds(Moment& moment, Mark from, Mark to) {
  const Index batch = plan_.spec.batch;
  for (moment.row_in_block = 0; moment.row_in_block < moment.block_rows; moment.row_in_block += batch) {
    const Next next = plan_.in_chunks() ? walk_chunks(moment) : walk_steps(moment, plan_.marks[from], plan_.marks[to]);
    if (next == Next::end) return next;
    ++moment.round;
    moment.row += batch;
  }
  return Next::step;
}

// The others do what it needs meanwhile, wait, and learn how far it came.
Program::Next Program::one_walks_rounds(Moment& moment, Mark from, Mark to) {
  barrier_.wait(moment.thread, false);
  const Index first = moment.row;
  if (records(moment.thread)) {
    const Next next = walk_rounds(moment, from, to);
    rounds_end_ = {moment.round, next};
  } else {
    walk_steps(moment, plan_.meanwhile, plan_.marks[begin]);
    read_ahead(moment);
  }
  barrier_.wait(moment.thread, false);
  moment.round = rounds_end_.round;
  moment.row = moment.slice.first + moment.round * plan_.spec.batch;
  moment.row_in_block = moment.row - first;
  return rounds_end_.next;
}

// One thread keeps losses; where one alone makes steps, that one.
bool Program::records(int thread) const {
  if (!plan_.steps_by_one) return thread == 0;
  const Range rows = plan_.owned(batch_rows, thread);
  return rows.begin < rows.end;
}

Program::Next Program::walk_steps(Moment& moment, int from, int to) {
  const std::vector<Task>& tasks = tasks_of(moment);
  for (int i = from; i < to; ++i) {
    const Step& step = plan_.steps[i];
    if (step.barrier) moment.stop = barrier_.wait(moment.thread, stop_.load(std::memory_order_relaxed));
    moment.pieces = step.pieces;
    const Next next = std::visit([&](const auto& task) { return run(task, moment); }, tasks[i]);
    if (next != Next::step) return next;
  }
  return Next::step;
}

// ---- stops ------------------------------------------------------------------------------------------------------

// Thread 0 asks, at most every 20 ms, whether the user wants to stop. The others learn of it at the next barrier; until
// then whoever sees it may leave its work undone, because the step will be abandoned before its update.
bool Program::told_to_stop(const Moment& moment) {
  using namespace std::chrono;
  const bool ask = moment.thread == 0 && moment.slice.interrupted && steady_clock::now() - asked_ > milliseconds(20);
  if (ask) {
    if (moment.slice.interrupted(moment.slice.asker)) stop_ = true;
    asked_ = steady_clock::now();
  }
  return stop_.load(std::memory_order_relaxed);
}

// call(part) for all of a range; in long steps piece by piece.
template <class Call>
void Program::in_pieces(const Moment& moment, Range all, Call&& call) {
  const Index grains = (all.end - all.begin + padding - 1) / padding;
  const auto cut = [&](int i) { return std::min(all.end, all.begin + grains * i / moment.pieces * padding); };
  for (int i = 0; i < moment.pieces; ++i) {
    const Range part = {cut(i), cut(i + 1)};
    if (part.begin < part.end) call(part);
    if (moment.pieces > 1 && told_to_stop(moment)) return;
  }
}

// call(rows, columns) for all of a product; the pieces are of the longer range: weights that are wider than the batch come
// from memory once, not with every few rows.
template <class Call>
void Program::in_pieces(const Moment& moment, Range rows, Range columns, Call&& call) {
  if (columns.end - columns.begin > rows.end - rows.begin)
    in_pieces(moment, columns, [&](Range part) { call(rows, part); });
  else
    in_pieces(moment, rows, [&](Range part) { call(part, columns); });
}

// ---- reading the user's rows ------------------------------------------------------------------------------------

Array Program::rows_from(const Array& array, const Moment& moment) const {
  Array rows = array;
  if (!moment.slice.order) rows.data = static_cast<const char*>(array.data) + moment.first_row() * array.row_stride;
  return rows;
}

const Index* Program::order_from(const Moment& moment) const {
  return moment.slice.order ? moment.slice.order + moment.first_row() : nullptr;
}

Program::Next Program::run(const GatherInput& task, Moment& moment) {
  if (moment.block_x) return Next::step;
  in_pieces(moment, {task.rows.begin, std::min(task.rows.end, moment.block_rows)}, [&](Range part) {
    Gather gather = task;
    gather.array = rows_from(moment.slice.x, moment);
    gather.order = order_from(moment);
    gather.rows = part;
    table_.gather(gather);
  });
  return Next::step;
}

Program::Next Program::run(const GatherTargets& task, Moment& moment) {
  Gather gather = task;
  gather.array = rows_from(moment.slice.y, moment);
  gather.order = order_from(moment);
  table_.gather(gather);
  return Next::step;
}

Program::Next Program::run(const GatherLabels& task, Moment& moment) {
  GatherLabels gather = task;
  gather.array = rows_from(moment.slice.y, moment);
  gather.order = order_from(moment);
  table_.gather_labels(gather);
  return Next::step;
}

// Every thread reads all weights and has their sum, in the same order, without a barrier.
Program::Next Program::run(const GatherWeights& task, Moment& moment) {
  Gather gather = task;
  gather.array = rows_from(moment.slice.weight, moment);
  gather.order = order_from(moment);
  table_.gather(gather);
  moment.weight_sum = table_.sum_rows({task.out, nullptr, plan_.spec.batch});
  return Next::step;
}

// ---- kernels ----------------------------------------------------------------------------------------------------

Program::Next Program::run(const DenseForward& task, Moment& moment) {
  DenseForward forward = task;
  if (!forward.x) read_in_place(forward, rows_from(moment.slice.x, moment).data, moment);
  in_pieces(moment, task.rows, task.columns, [&](Range rows, Range columns) {
    forward.rows = rows;
    forward.columns = columns;
    table_.dense_forward(forward);
  });
  return Next::step;
}

Program::Next Program::run(const RowLoss& task, Moment& moment) {
  RowLoss loss = task;
  loss.scale = moment.weight_sum == 0 ? 0 : 1 / moment.weight_sum;
  const Index before = moment.row_in_step * size_of(plan_.spec.dtype);
  loss.loss = static_cast<char*>(task.loss) + before;
  if (task.weight) loss.weight = static_cast<const char*>(task.weight) + before;
  table_.row_loss(loss);
  return Next::step;
}

// What is dropped depends on seed, step over all epochs, layer, row and unit alone.
template <class Kernel>
Program::Next Program::drop(void (*kernel)(const Kernel&) noexcept, DropoutOf<Kernel> task, const Moment& moment) {
  const auto step = static_cast<std::uint64_t>(moment.slice.step + moment.round);
  task.key = random_word(mix(moment.slice.seed), step, static_cast<std::uint64_t>(task.layer));
  task.first_row = moment.slice.rows_before + moment.row_in_step;
  kernel(task);
  return Next::step;
}

Program::Next Program::run(const DenseInputGradient& task, Moment& moment) {
  DenseInputGradient gradient = task;
  in_pieces(moment, task.rows, task.columns, [&](Range rows, Range columns) {
    gradient.rows = rows;
    gradient.columns = columns;
    table_.dense_input_gradient(gradient);
  });
  return Next::step;
}

Program::Next Program::run(const DenseWeightGradient& task, Moment& moment) {
  DenseWeightGradient gradient = task;
  gradient.scalars = scalars_of(moment);
  if (plan_.in_chunks()) gradient.parameter.g = static_cast<char*>(gradient.parameter.g) + moment.sum * bytes_of_sum();
  if (!gradient.x) read_in_place(gradient, rows_from(moment.slice.x, moment).data, moment);
  in_pieces(moment, task.inputs, [&](Range part) {
    gradient.inputs = part;
    gradient.bias = task.bias && part.end == task.inputs.end;
    table_.dense_weight_gradient(gradient);
  });
  return Next::step;
}

// Every thread sums the losses of all rows, in the same order, and comes to the same decision without a barrier.
Program::Next Program::run(const Commit& task, Moment& moment) {
  if (plan_.threads == 1 ? stop_.load(std::memory_order_relaxed) : moment.stop) return Next::end;
  const double sum = table_.sum_rows(task), weight = moment.weight_sum;
  const double loss = weight == 0 ? 0 : sum / weight;
  if (task.records) {
    moment.slice.tally->count(loss, weight);
    if (!std::isfinite(loss)) outcome_.status = Status::not_finite;
  }
  if (!std::isfinite(loss) && plan_.spec.backward) return Next::end;
  if (weight != 0 || !plan_.spec.backward) return Next::step;
  if (plan_.threads > 1) barrier_.wait(moment.thread, false);  // in place of the barriers of the steps passed over
  return Next::round;
}

Program::Next Program::run(const Update& task, Moment& moment) {
  Update update = task;
  update.scalars = scalars_of(moment);
  table_.update(update);
  return Next::step;
}

}  // namespace thalweg

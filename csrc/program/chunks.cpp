#include "program/chunks.hpp"

#include <algorithm>
#include <cstring>

#include "program/program.hpp"

namespace thalweg {

// ---- the plan -----------------------------------------------------------------------------------------------------

namespace {

// A row's values and their gradients.
Index row_bytes(const Spec& spec) {
  Index elements = 0;
  for (const LayerSpec& layer : spec.layers) elements += 2 * leading_dimension(layer.units, spec.dtype);
  return elements * size_of(spec.dtype);
}

// Few multiplications for each byte, and weights that leave room in L2.
bool values_weigh(const Spec& spec) {
  constexpr Index weights_a_byte = 32, largest = 1 << 20;  // measured: docs/speed.md
  const Index elements = parameter_elements(plan_parameters(spec));
  return elements <= weights_a_byte * row_bytes(spec) && elements * size_of(spec.dtype) <= largest;
}

}  // namespace

bool may_chunk(const Spec& spec, int threads) {
  constexpr Index fewest = 4;  // chunks of a thread, so that the last ones are few among them
  const auto has_norm = [](const LayerSpec& layer) { return has_parameter(layer.kind) && layer.kind != LayerKind::dense; };
  const bool by_rows = std::none_of(spec.layers.begin(), spec.layers.end(), has_norm);
  const bool whole = spec.fused && spec.loss != Loss::none && !spec.input_gradient && spec.block == 1;
  return whole && by_rows && spec.batch >= fewest * threads * rows_per_chunk && values_weigh(spec);
}

Spec chunked(Spec spec) {
  spec.chunk = rows_per_chunk;  // those of sums over rows, so that bits stay what they are
  spec.fused = false;
  return spec;
}

// ---- the program --------------------------------------------------------------------------------------------------

// The last chunk may be smaller.
void Program::bind_rest() {
  const Index rest = plan_.spec.batch % plan_.spec.chunk;
  if (rest == 0) return;
  plan_.extents[batch_rows] = rest;
  rest_ = bind_all();
  plan_.extents[batch_rows] = plan_.spec.chunk;
}

const std::vector<Program::Task>& Program::tasks_of(const Moment& moment) const {
  const bool in_rest = plan_.spec.batch - moment.row_in_step < plan_.spec.chunk;
  return (in_rest ? rest_ : tasks_)[moment.thread];
}

Program::Next Program::walk_chunks(Moment& moment) {
  if (moment.thread == 0) {
    chunk_taken_ = 0;
    sums_added_.reach(0);
  }
  barrier_.wait(moment.thread, false);
  take_chunks(moment);
  moment.row_in_step = 0;
  return walk_steps(moment, plan_.marks[differentiated], plan_.marks[updated]);
}

// Every thread takes the next chunk as soon as it is free. Gradients are added in the order of chunks, by whoever made
// them, when it is their turn; until then they wait, as many as there is room for. Who is told to stop takes no more: the
// step will be abandoned.
void Program::take_chunks(Moment& moment) {
  Index waiting[waiting_sums], first = 0, end = 0;  // chunks; number n from `first` to `end` is at n % waiting_sums
  const auto add_first = [&] {
    add_sum(moment.thread, first % waiting_sums, waiting[first % waiting_sums]);
    ++first;
  };
  for (Index chunk; !stop_.load(std::memory_order_relaxed) && (chunk = chunk_taken_++) < plan_.chunks();) {
    if (end - first == waiting_sums) add_first();
    moment.sum = end++ % waiting_sums;
    waiting[moment.sum] = chunk;
    moment.row_in_step = chunk * plan_.spec.chunk;
    walk_steps(moment, plan_.marks[begin], plan_.marks[differentiated]);
    if (plan_.long_step) told_to_stop(moment);
    while (first < end && sums_added_.is_at(waiting[first % waiting_sums])) add_first();
  }
  while (first < end) add_first();
}

// The first chunk's gradient is the sum to which the others are added.
void Program::add_sum(int thread, Index sum, Index chunk) {
  const Index elements = parameter_elements(plan_.parameters);
  const char* own = data(sums_, thread) + sum * bytes_of_sum();
  sums_added_.wait_for(chunk);
  if (chunk == 0) std::memcpy(storage_.gradients, own, elements * size_of(plan_.spec.dtype));
  else table_.add({storage_.gradients, 0, storage_.gradients, 0, own, 0, {0, 1}, {0, elements}});
  sums_added_.reach(chunk + 1);
}

}  // namespace thalweg

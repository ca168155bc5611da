#include "program/layout.hpp"

#include "base/check.hpp"

namespace thalweg {

namespace {

// Two threads may meet in a buffer unless both keep to their own part of one space.
bool conflict(const Plan& plan, const Access& a, const Access& b) {
  if (a.buffer != b.buffer || plan.buffers[a.buffer].per_thread || !(a.write || b.write)) return false;
  return !plan.alike(a, b) || a.space == whole;
}

bool any_conflict(const Plan& plan, const std::vector<Access>& before, const std::vector<Access>& now) {
  for (const Access& a : before)
    for (const Access& b : now)
      if (conflict(plan, a, b)) return true;
  return false;
}

constexpr int meeting = -1;

// Whether a thread makes a step while others may make other steps.
bool alone(const Plan& plan, int step) {
  return plan.steps_by_one || (plan.in_chunks() && step < plan.marks[differentiated]);
}

Index round_up(Index n, Index unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

// Walks the steps round and round, as training does, until no walk asks for another barrier; those between the marks
// twice, as in a block. Before and after steps by one thread, and before threads take chunks, all meet anyway; what is made
// meanwhile for the one thread it follows step by step.
void place_barriers(Plan& plan) {
  if (plan.threads == 1) return;
  std::vector<int> walk;
  const auto walk_on = [&](int from, int to) {
    for (int i = from; i < to; ++i) walk.push_back(i);
  };
  const auto meet = [&](bool where) {
    if (where) walk.push_back(meeting);
  };
  walk_on(0, plan.meanwhile);
  meet(plan.steps_by_one);
  for (int round = 0; round < 2; ++round) {
    meet(plan.in_chunks());
    walk_on(plan.marks[begin], plan.marks[updated]);
  }
  meet(plan.steps_by_one);
  walk_on(plan.marks[updated], static_cast<int>(plan.steps.size()));
  std::vector<Access> since;  // all accesses since the last barrier
  for (bool changed = true; changed;) {
    changed = false;
    for (int i : walk) {
      if (i == meeting) {
        since.clear();
        continue;
      }
      Step& step = plan.steps[i];
      if (!step.barrier && any_conflict(plan, since, step.accesses)) changed = step.barrier = true;
      if (step.barrier) since.clear();
      since.insert(since.end(), step.accesses.begin(), step.accesses.end());
    }
  }
  for (int i = plan.marks[begin]; i < plan.marks[updated]; ++i)
    require(!(alone(plan, i) && plan.steps[i].barrier), "no other thread comes to a barrier here");
}

void place_buffers(Plan& plan) {
  const Index size = size_of(plan.spec.dtype);
  for (Buffer& buffer : plan.buffers) {
    if (!buffer.in_arena) continue;
    if (plan.spec.in_place && &buffer == plan.buffers.data()) continue;  // x comes first
    Index& end = buffer.per_thread ? plan.thread_bytes : plan.shared_bytes;
    buffer.offset = end;
    end = round_up(end + buffer.rows * buffer.ld * size, 128);
  }
  plan.thread_bytes = round_up(plan.thread_bytes, 4096);
  plan.shared_bytes = round_up(plan.shared_bytes, 4096);
  for (Buffer& buffer : plan.buffers)
    if (buffer.per_thread) buffer.offset += plan.shared_bytes;
}

}  // namespace thalweg

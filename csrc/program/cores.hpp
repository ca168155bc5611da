// Threads of a team on cores of their own. Linux now and then starts or wakes a thread on the core of the one that waits for
// it, beside an idle core, and takes 10 ms and more to part them: as long as some trainings.
#pragma once

#include <atomic>
#include <cstdint>

#include <sched.h>

namespace thalweg {

#if defined(__linux__) && defined(CPU_SETSIZE)
class Cores {
 public:
  // Leaves this thread where it is, unless another of the team was there first: then it goes to a core that none has taken,
  // of those that it may use, if there is one. It may use the same cores afterwards as before.
  void take_one() {
    if (take(sched_getcpu())) return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    bool moved = false;
    do {
      cpu_set_t free = left_of(allowed);
      if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) break;
      moved = true;
    } while (!take(sched_getcpu()));
    if (moved) sched_setaffinity(0, sizeof allowed, &allowed);
  }

 private:
  static constexpr int bits = 64;

  // False where another thread was first.
  bool take(int core) {
    if (core < 0 || core >= CPU_SETSIZE) return true;  // not known: none of the team knows better
    const std::uint64_t bit = std::uint64_t(1) << core % bits;
    return !(taken_[core / bits].fetch_or(bit, std::memory_order_relaxed) & bit);
  }

  cpu_set_t left_of(cpu_set_t cores) const {
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (taken_[core / bits].load(std::memory_order_relaxed) >> core % bits & 1) CPU_CLR(core, &cores);
    return cores;
  }

  std::atomic<std::uint64_t> taken_[CPU_SETSIZE / bits] = {};
};
#else
struct Cores {
  void take_one() {}
};
#endif

}  // namespace thalweg

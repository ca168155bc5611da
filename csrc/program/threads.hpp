// Threads: one parallel region, a barrier of our own inside it, and what keeps libgomp's pool out of the way of others.
// The only file that speaks OpenMP; without OpenMP there is one thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif
#include <sched.h>

#include "program/cores.hpp"
#include "simd/cpu.hpp"

namespace thalweg {

// After a bounded spin a waiting thread gives its core away.
inline void wait_until(const std::atomic<std::uint64_t>& counter, std::uint64_t least) {
  constexpr int spins_before_yield = 2000;  // some 20-40 us
  for (int spins = 0; counter.load(std::memory_order_acquire) < least; ++spins) {
    if (spins < spins_before_yield) pause_spinning();
    else sched_yield();
  }
}

// How far one thread has come with what another follows it in.
class Progress {
 public:
  void reach(std::uint64_t place) { reached_.store(place, std::memory_order_release); }
  void wait_for(std::uint64_t place) const { wait_until(reached_, place); }
  bool is_at(std::uint64_t place) const { return reached_.load(std::memory_order_acquire) >= place; }

 private:
  alignas(128) std::atomic<std::uint64_t> reached_{0};  // two lines: the hardware fetches pairs
};

// Every thread raises a flag of its own and waits for the flags of all: one transfer of a cache line, 31-46 ns between
// two cores of one L3 (omp barrier: 190 ns and more).
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads), flags_(new Flag[threads]) {}

  // What thread 0 brings along as `word` is what everyone gets.
  bool wait(int thread, bool word) {
    Flag& mine = flags_[thread];
    const std::uint64_t round = mine.raised.load(std::memory_order_relaxed) + 1;
    if (thread == 0) words_[round & 1].store(word, std::memory_order_relaxed);
    mine.raised.store(round, std::memory_order_release);
    for (int other = 0; other < threads_; ++other) wait_until(flags_[other].raised, round);
    return words_[round & 1].load(std::memory_order_relaxed);
  }

 private:
  struct alignas(128) Flag {  // two lines: the hardware fetches pairs
    std::atomic<std::uint64_t> raised{0};
  };

  int threads_;
  std::unique_ptr<Flag[]> flags_;
  std::atomic<bool> words_[2] = {};  // by parity: a round's word stays until everyone has met in the next round
};

// Runs body(thread) on exactly `threads` threads, each with denormals flushed. False, and nothing was run, where the
// system did not give so many.
template <class Body>
bool run_threads(int threads, Body&& body) {
  if (threads == 1) {
    FlushDenormals flush;
    body(0);
    return true;
  }
#ifdef _OPENMP
  const int dynamic = omp_get_dynamic();
  omp_set_dynamic(0);
  bool enough = true;
  Cores cores;
#pragma omp parallel num_threads(threads)
  {
    if (omp_get_num_threads() == threads) {
      cores.take_one();
      FlushDenormals flush;
      body(omp_get_thread_num());
    } else if (omp_get_thread_num() == 0) {
      enough = false;
    }
  }
  omp_set_dynamic(dynamic);
  return enough;
#else
  return false;
#endif
}

// The most threads that a region can have. Where the system refuses one (some 30,000 are too many) libgomp ends the process,
// so they are no more than machines have cores.
inline int thread_limit() {
#ifdef _OPENMP
  constexpr int most = 1024;
  return std::min(omp_get_thread_limit(), most);
#else
  return 1;
#endif
}

// Gives the pool of this thread back. libgomp's idle workers spin for some 8 ms, which slows a following NumPy 50-fold,
// and they do not survive a fork: a child would wait for them for ever.
inline void release_threads() {
#ifdef _OPENMP
  (void)omp_pause_resource_all(omp_pause_soft);
#endif
}

inline void release_threads_before_forks() {
#ifdef _OPENMP
  static const int registered = pthread_atfork(release_threads, nullptr, nullptr);
  (void)registered;
#endif
}

// Nanoseconds of a barrier between two threads: the best of some batches, 20 us or so, and no more than 300 us on a
// machine whose cores are busy with others. Between cores that share an L3 it is below 100; it tells what a cache line
// costs that another core has written.
inline double measure_barrier() {
  using Clock = std::chrono::steady_clock;
  using Nanoseconds = std::chrono::duration<double, std::nano>;
  constexpr int batches = 8, rounds = 32;
  constexpr double enough = 300e3;
  Barrier barrier(2);
  double best = 1e9;
  run_threads(2, [&](int thread) {
    const auto began = Clock::now();
    const auto late = [&] { return Nanoseconds(Clock::now() - began).count() > enough; };
    for (int batch = 0; batch < batches && !barrier.wait(thread, late()); ++batch) {
      const auto start = Clock::now();
      for (int round = 0; round < rounds; ++round) barrier.wait(thread, false);
      const double each = Nanoseconds(Clock::now() - start).count() / rounds;
      if (thread == 0 && each < best) best = each;
    }
  });
  return best;
}

}  // namespace thalweg

// The planner's first question, ownership: a handful of schedules, and what each costs on this machine.
#pragma once

#include <string>
#include <vector>

#include "program/plan.hpp"
#include "program/spec.hpp"

namespace thalweg {

// For each layer, whether its outputs are owned by columns (units) or by rows of the batch: the same in forward and
// update, so that what a core wrote in the last step is what it reads in the next.
struct Schedule {
  std::string name;
  int threads;
  std::vector<bool> by_columns;
  bool steps_by_one = false;  // of exact-block SGD: what is not shared by the steps of a block is one thread's
  bool in_chunks = false;     // of a large batch: chunks.hpp
};

// More threads must promise this share of the time of fewer: they wait for each other where others use the cores too.
constexpr double worth_threads = 0.8;

constexpr double long_step_us = 50e3, piece_us = 10e3;
constexpr double long_update_us = 170e3;  // weight gradients with their updates: longer is too long to wait for a stop

// A core's rate in products, some 60-90 % of its peak. Vectors of 32 bytes count like those of 64: cores multiply two of
// the ones in the time of one of the others, or have no others.
inline double flops_per_us(Index lanes, DType dtype) {
  const Index bytes = lanes * size_of(dtype);
  return (bytes < 32 ? lanes : 64 / size_of(dtype)) * 2 * 2.5e3;
}

// The busiest thread's share of a step.
double busiest_share(const Plan& plan, Space owner);

// Microseconds of the busiest thread in one step.
double compute_us(const Plan& plan, const Step& step, Index lanes);

std::vector<Schedule> schedules(const Spec& spec, const Machine& machine);

// flops of the busiest thread + bytes that cross cores + barriers, in microseconds a step.
Price price_of(const Plan& plan, const Machine& machine, Index lanes);

std::string describe_price(const Plan& plan);

}  // namespace thalweg

// A plan as text, for people: trainer.describe() and the tests' golden plans.
#include <cstdio>

#include "program/plan.hpp"

namespace thalweg {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::gather: return "gather";
    case Kind::gather_labels: return "gather labels";
    case Kind::gather_weights: return "gather weights";
    case Kind::dense_forward: return "forward";
    case Kind::activate: return "activate";
    case Kind::row_loss: return "loss";
    case Kind::add: return "add";
    case Kind::dropout: return "dropout";
    case Kind::layer_norm: return "layer norm";
    case Kind::batch_norm: return "batch norm";
    case Kind::pass_gradient: return "activation grad";
    case Kind::softmax_gradient: return "softmax grad";
    case Kind::dropout_gradient: return "dropout grad";
    case Kind::input_gradient: return "input grad";
    case Kind::weight_gradient: return "weight grad";
    case Kind::layer_norm_input_gradient: return "norm input grad";
    case Kind::layer_norm_weight_gradient: return "norm grad";
    case Kind::batch_norm_gradient: return "norm grad";
    case Kind::commit: return "commit";
    case Kind::commit_statistics: return "statistics";
    case Kind::update: return "update";
    case Kind::block_product: return "block product";
    case Kind::gram: return "gram";
    case Kind::block_forward: return "block forward";
    case Kind::keep_step: return "keep step";
    case Kind::block_update: return "block update";
  }
  return "";
}

namespace {

std::string shape_of(const Buffer& b) {
  if (b.ld == 1) return "(" + std::to_string(b.rows) + ",)";
  return "(" + std::to_string(b.rows) + ", " + std::to_string(b.columns) + ")" + (b.lies_apart() ? " apart" : "");
}

std::string owner_of(const Plan& plan, Space owner) {
  if (owner == every_thread) return "every thread";
  if (plan.spec.block > 1 && owner + 1 == static_cast<Space>(plan.extents.size())) return "block rows";
  return owner == batch_rows ? "rows" : "units " + std::to_string(owner - 1);
}

// "y1 (32, 128) = x (32, 784), w1 (785, 128)": what a step writes, and what it reads.
std::string operands(const Plan& plan, const Step& step) {
  std::string out, in;
  for (const Access& access : step.accesses) {
    const Buffer& b = plan.buffers[access.buffer];
    if (b.name == "scratch") continue;
    std::string& list = access.write ? out : in;
    list += (list.empty() ? "" : ", ") + b.name + " " + shape_of(b);
  }
  return out + (out.empty() || in.empty() ? "" : " <- ") + in;
}

std::string line_of(const Plan& plan, const Step& step) {
  char line[256];
  std::snprintf(line, sizeof line, "%-7s %-15s %-13s %8.3f  %s\n", step.barrier ? "barrier" : "", name_of(step.kind),
                owner_of(plan, step.owner).c_str(), step.flops * 1e-6, operands(plan, step).c_str());
  return line;
}

std::string mark_of(const Plan& plan, int step) {
  static const char* const names[mark_count] = {"begin", "forwarded", "measured", "differentiated", "committed",
                                                "recorded", "updated"};
  std::string line;
  for (int mark = forwarded; mark < updated; ++mark)
    if (plan.marks[mark] == step && plan.marks[mark] != plan.marks[mark - 1]) line += std::string("-- ") + names[mark] + "\n";
  return line;
}

}  // namespace

std::string Plan::describe() const {
  std::string text = "schedule: " + schedule + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads") +
                     (spec.fused ? ", fused" : "") +
                     (spec.block > 1 ? ", blocks of " + std::to_string(spec.block) + " steps" : "") +
                     (in_chunks() ? ", " + std::to_string(spec.chunk) + " rows a chunk" : "") +
                     (own_columns ? ", own columns" : "") + (turns_weights() ? ", narrow layers turned" : "") +
                     (long_step ? ", in pieces" : "") + "\nconsidered:\n" + considered +
                     "before  step            owner          Mflop    output <- inputs\n";
  for (size_t i = 0; i < steps.size(); ++i) {
    const int step = static_cast<int>(i);
    text += mark_of(*this, step);
    if (steps_by_one && step == meanwhile) text += "-- meanwhile, by another thread\n";
    if (spec.block > 1 && step == marks[begin]) text += steps_by_one ? "-- for each step, by one thread\n" : "-- for each step\n";
    if (spec.block > 1 && step == marks[updated]) text += "-- once a block\n";
    if (in_chunks() && step == marks[begin]) text += "-- for each chunk, by one thread\n";
    text += line_of(*this, steps[i]);
  }
  char barriers[32];
  std::snprintf(barriers, sizeof barriers, "%.3g", barriers_a_step());
  return text + "barriers a step: " + barriers + "\nbytes: arena " + std::to_string(arena_bytes()) +
         " (shared " + std::to_string(shared_bytes) + " + " + std::to_string(threads) + " x " +
         std::to_string(thread_bytes) + " a thread), parameters " +
         std::to_string(parameter_elements(parameters) * size_of(spec.dtype)) + "\n";
}

}  // namespace thalweg

// The plan: which steps, in which order, who owns what, where a barrier is needed, and where everything lies. Made from
// a Spec before the first number; it holds no memory of its own.
//
//   step       a kernel, its inputs and its output by index, and the space along which the output is owned
//   space      what can be cut between threads: the rows of the batch, or the units of one activation
//   barrier    before a step that touches what another thread touched since the last barrier, one of them writing
//   segment    the steps between two barriers
//   mark       a place where a run may begin or stop, so that Python can look and act
#pragma once

#include <string>
#include <vector>

#include "program/spec.hpp"

namespace thalweg {

// ---- parameters -------------------------------------------------------------------------------------------------

// A dense layer's parameter: `inputs` rows of W, then one row of bias, all of one leading dimension; the offset, in
// elements, is the same in the parameters, in the gradients and in every slot of an optimizer's state.
struct ParameterPlan {
  Index offset, inputs, outputs, ld;
  bool bias;
  Index rows() const { return inputs + (bias ? 1 : 0); }
};

// Rows padded to 64 bytes, and no leading dimension a multiple of 4 KB (rows would meet in one set of the L1 cache).
Index leading_dimension(Index columns, DType dtype);

std::vector<ParameterPlan> plan_parameters(const Spec& spec);
Index parameter_elements(const std::vector<ParameterPlan>& parameters);

// ---- spaces -----------------------------------------------------------------------------------------------------

using Space = int;
constexpr Space every_thread = -1;  // owner: each thread makes all of it for itself
constexpr Space whole = -2;         // access: all of a buffer, whoever owns it
constexpr Space batch_rows = 0;     // from 1 on: the units of activation 0 (the input), 1, ...
constexpr Space units_of(int activation) { return 1 + activation; }

// ---- buffers and steps ------------------------------------------------------------------------------------------

struct Buffer {
  std::string name;
  Index rows, columns, ld;  // in elements of the plan's dtype
  bool per_thread;
  bool in_arena;  // parameters and gradients live outside
  Index offset;   // in bytes, of thread 0; thread t's lies t strides further
};

struct Access {
  int buffer;
  Space space;
  bool write;
};

enum class Kind {
  gather,
  gather_labels,
  gather_weights,
  dense_forward,
  activate,
  row_loss,
  activate_backward,
  input_gradient,
  weight_gradient,
  commit,  // the batch's loss; a step that is not finite, or was told to stop, ends here
  update,
};
const char* name_of(Kind kind);

constexpr int none = -1;

struct Step {
  Kind kind;
  Space owner;
  int input = none;      // x, y or dz
  int other = none;      // a second operand: y for its derivative, targets, x of a weight gradient, fault of forward
  int output = none;
  int parameter = none;
  Activation activation = Activation::identity;
  bool by_columns = false;  // of a parameter: its columns are owned, not its rows
  bool barrier = false;
  int pieces = 1;        // so many calls of its kernel, between which a stop is looked for
  double flops = 0;      // of all threads together
  std::vector<Access> accesses;
};

// Runs begin and stop at marks: [begin, forwarded) makes outputs, [.., measured) losses and the gradient of the
// outputs, [.., differentiated) all gradients, [.., committed) decides, [.., updated) updates.
enum Mark { begin, forwarded, measured, differentiated, committed, updated, mark_count };

struct Price {
  double compute_us, crossing_us, barriers_us;
  double total() const { return compute_us + crossing_us + barriers_us; }
};

struct Plan {
  Spec spec;
  int threads = 1;
  std::string schedule;     // "one thread", "rows", "columns", "columns first"
  std::string considered;   // every candidate with its price
  Price price{};
  std::vector<ParameterPlan> parameters;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  std::vector<Index> extents;  // of each space
  int marks[mark_count] = {};
  Index shared_bytes = 0, thread_bytes = 0;
  bool long_step = false;  // over 50 ms: steps run in pieces

  // The part of a space that a thread owns: multiples of 16, a cache line, dealt evenly.
  Range owned(Space space, int thread) const;
  Index arena_bytes() const { return shared_bytes + threads * thread_bytes; }
  int find(const std::string& buffer) const;  // none where there is no such buffer
  std::string describe() const;
};

Plan make_plan(const Spec& spec, const Machine& machine, Index lanes);

}  // namespace thalweg

// The plan: which steps, in which order, who owns what, where a barrier is needed, and where everything lies. Made from
// a Spec before the first number; it holds no memory of its own.
//
//   step       a kernel, its inputs and its output by index, and the space along which the output is owned
//   space      what can be cut between threads: the rows of the batch, or the units of one value
//   barrier    before a step that touches what another thread touched since the last barrier, one of them writing
//   segment    the steps between two barriers
//   mark       a place where a run may begin or stop, so that Python can look and act
#pragma once

#include <string>
#include <vector>

#include "program/spec.hpp"

namespace thalweg {

// ---- parameters -------------------------------------------------------------------------------------------------

// A layer's parameter: `inputs` rows of W, then one row of bias, all of one leading dimension; of a norm one row of gamma
// and one of beta. The offset, in elements, is the same in the parameters, in the gradients and in every slot of an
// optimizer's state.
struct ParameterPlan {
  Index offset, inputs, outputs, ld;
  bool bias;
  int layer;
  bool turned = false;  // while steps run, in other memory: turned_weights.hpp
  Index rows() const { return inputs + (bias ? 1 : 0); }
};

// Statistics that a model keeps in float64: a row of means, then one of variances (of the inputs: of factors), `ld`
// apart. Those of standardised inputs come first (layer = none), then those of each batch norm.
struct StatisticsPlan {
  Index offset, units, ld;
  int layer;
};

// Rows padded to 64 bytes, and further where they would lie a multiple of 2 or 4 KB apart: those which a tile has in hand would
// meet in one or two sets of the L1 cache; of 4 KB and one line they still overlap there.
Index leading_dimension(Index columns, DType dtype);

std::vector<ParameterPlan> plan_parameters(const Spec& spec);
Index parameter_elements(const std::vector<ParameterPlan>& parameters);
std::vector<StatisticsPlan> plan_statistics(const Spec& spec);

// ---- spaces -----------------------------------------------------------------------------------------------------

using Space = int;
constexpr Space every_thread = -1;  // owner: each thread makes all of it for itself
constexpr Space whole = -2;         // access: all of a buffer, whoever owns it
constexpr Space batch_rows = 0;     // or a chunk's; from 1 on: the units of value 0 (the input), 1, ...
constexpr Space units_of(int value) { return 1 + value; }

// ---- buffers and steps ------------------------------------------------------------------------------------------

struct Buffer {
  std::string name;
  Index rows, columns, ld;  // in elements of the plan's dtype
  bool per_thread;
  bool in_arena;  // parameters and gradients live outside
  Index offset;   // in bytes, of thread 0; thread t's lies t strides further
  Space apart = whole;  // else each thread has its own columns of that space alone, for itself, and ld is that of a part
  bool lies_apart() const { return apart != whole; }
};

// Of a step all: barriers are placed, and buffers laid apart, by what these say.
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
  add,
  dropout,
  layer_norm,
  batch_norm,
  row_loss,
  pass_gradient,
  softmax_gradient,
  dropout_gradient,
  input_gradient,
  weight_gradient,
  layer_norm_input_gradient,
  layer_norm_weight_gradient,
  batch_norm_gradient,
  commit,  // the batch's loss; a step that is not finite, or was told to stop, ends here
  commit_statistics,
  update,
  block_product,
  gram,
  block_forward,
  keep_step,
  block_update,
};
const char* name_of(Kind kind);

constexpr int none = -1;

// Buffers of what a norm's way back needs of its way forward.
struct NormBuffers {
  int mean = none, variance = none, scale = none;
};

struct Step {
  Kind kind;
  Space owner;
  int input = none;      // x, y or dz
  int other = none;      // a second operand: targets, x of a gradient, fault of forward, b of add
  int output = none;
  int kept = none;       // z of a forward whose activation's derivative needs it
  int saved = none;      // of a sink: what the derivative on the way is written in terms of
  bool add = false;      // of a sink: to what is there already
  int layer = none;
  int parameter = none;
  int statistics = none;
  NormBuffers norm;
  Activation activation = Activation::identity;
  bool by_columns = false;  // of a parameter: its columns are owned, not its rows
  bool barrier = false;
  int pieces = 1;        // so many calls of its kernel, between which a stop is looked for
  double flops = 0;      // of all threads together
  std::vector<Access> accesses;
};

// Runs begin and stop at marks: [begin, forwarded) makes outputs, [.., measured) losses and the gradient of the
// outputs, [.., differentiated) all gradients, [.., committed) decides, [.., recorded) takes the batch into the running
// statistics, [.., updated) updates. Steps outside all marks run once a block: before `begin`, where a run begins there (so are
// rows' weights summed), and from `updated` on. Batches in chunks run from `begin` to `updated` alone.
enum Mark { begin, forwarded, measured, differentiated, committed, recorded, updated, mark_count };

struct Price {
  double compute_us, crossing_us, barriers_us;
  double total() const { return compute_us + crossing_us + barriers_us; }
};

struct Plan {
  Spec spec;
  int threads = 1;
  std::string schedule;     // "one thread", "rows", "chunks", "columns", "columns first", "steps by one"
  std::string considered;   // every candidate with its price
  Price price{};
  std::vector<ParameterPlan> parameters;
  std::vector<StatisticsPlan> statistics;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  std::vector<Index> extents;  // of each space
  int marks[mark_count] = {};
  Index shared_bytes = 0, thread_bytes = 0;
  bool own_columns = false;  // of the first layer, each thread's in memory of its own: own_columns.hpp
  bool steps_by_one = false;  // of a block: one thread has all between the marks
  int meanwhile = 0;          // from here to the mark `begin` stands what another makes for it meanwhile
  bool long_step = false;  // over 50 ms: steps run in pieces

  // The part of a space that a thread owns: multiples of 16, a cache line, dealt evenly; of a chunk's rows all.
  Range owned(Space space, int thread) const;
  // Whether two accesses to a buffer cut it alike. In a matrix of values units are columns, and those of one width are
  // cut alike; in a parameter the units below are rows and its own are columns.
  bool alike(const Access& a, const Access& b) const;
  bool in_rounds(int step) const { return step >= marks[begin] && step < marks[updated]; }  // not once a block
  bool in_chunks() const { return spec.chunk > 0; }
  bool turns_weights() const;
  Index chunks() const { return (spec.batch + spec.chunk - 1) / spec.chunk; }
  Index times_a_round(int step) const;  // how often a thread makes a step: once, or for each of its chunks
  double barriers_a_step() const;
  Index arena_bytes() const { return shared_bytes + threads * thread_bytes; }
  int find(const std::string& buffer) const;  // none where there is no such buffer
  std::string describe() const;
};

Plan make_plan(const Spec& spec, const Machine& machine, Index lanes);

}  // namespace thalweg

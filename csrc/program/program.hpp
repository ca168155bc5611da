// A plan with memory and one table of kernels: it runs. After it is made nothing can fail but the numbers.
#pragma once

#include <chrono>
#include <map>
#include <variant>
#include <vector>

#include "base/arena.hpp"
#include "kernels/table.hpp"
#include "program/own_columns.hpp"
#include "program/plan.hpp"
#include "program/threads.hpp"
#include "program/turned_weights.hpp"

namespace thalweg {

// Memory that outlives a program: the model's parameters, and the trainer's gradients and slots (null where the plan
// needs none), all laid out as plan_parameters says; and the loss's own numbers.
struct Storage {
  void* parameters;
  void* gradients;
  void* statistics;  // of the model, in float64, as plan_statistics says
  void* slots[max_slots];
  const void* loss_parameter;  // of the loss, one number a column, padded like a row; null: none
};

// What steps came to. The sums, of each step's loss times its weight and of weights, go on from what they are, one step after
// the other, so that slices do not matter; a loss that is not finite is in none. Python has it as four numbers (programs.py).
struct Tally {
  double loss_sum, weight_sum;
  double loss, weight;  // of the last step
  void count(double loss_of_step, double weight_of_step);
};

// Some steps of training, one after another, each on the next `batch` rows of the order from `first` on.
struct Slice {
  Array x, y, weight;         // weight.data is null without sample weights
  const Index* order;         // null: rows as they lie
  Index first;
  Index steps;
  Index passes;               // over these steps, one after another
  const double* scalars;      // of the rule, one row a step
  Index scalars_per_step;
  std::uint64_t seed;         // of dropout, with
  Index step;                 // the first step's number over all epochs, and
  Index rows_before;          // how many rows of that step were run before: a step may come in several runs
  Tally* tally;               // in and out, one a pass; null without a loss
  bool (*interrupted)(void*); // asked by thread 0 now and then in long steps; may be null
  void* asker;
};

enum class Status : int { done, not_finite, stopped, no_threads };

// Whole steps done in all passes, and why it ended. The step that was not finite, or was stopped, has left no trace in the storage.
struct Outcome {
  Index steps;
  Status status;
};

class Program {
 public:
  Program(const Plan& plan, const KernelTable& table, const Storage& storage);

  Outcome run(const Slice& slice, Mark from, Mark to) noexcept;

  // The sum of squares of all gradients in the storage, parameter by parameter.
  double gradient_squares() const noexcept;

  const Plan& plan() const { return plan_; }
  char* data(int buffer, int thread) const;

 private:
  struct Nothing {};
  struct GatherInput : Gather {};
  struct GatherTargets : Gather {};
  struct GatherWeights : Gather {};
  struct Commit : SumRows {
    bool records;  // losses, and whether one is not finite
  };
  struct BlockProduct : DenseForward {};
  struct BlockUpdate : DenseWeightGradient {};
  template <class Kernel>
  struct DropoutOf : Kernel {
    int layer;
  };
  using Task = std::variant<Nothing, GatherInput, GatherTargets, GatherLabels, GatherWeights, DenseForward, Activate, Add,
                            DropoutOf<Dropout>, LayerNorm, BatchNorm, RowLoss, PassGradient, SoftmaxBackward,
                            DropoutOf<DropoutGradient>, DenseInputGradient, DenseWeightGradient, LayerNormInputGradient,
                            LayerNormWeightGradient, BatchNormGradient, Commit, CommitStatistics, Update, BlockProduct, Gram,
                            BlockForward, KeepStep, BlockUpdate>;
  using Tasks = std::vector<std::vector<Task>>;  // of each thread, one a step
  enum class Next { step, round, end };  // go on with the next step; with the next round of steps; not at all
  struct RoundsEnd {
    Index round;
    Next next;
  };

  // What changes while a thread walks through a slice.
  struct Moment {
    const Slice& slice;
    int thread;
    Index round = 0, row = 0;  // round of steps, and its first row in the order
    Index block_rows = 0;      // of the block of steps at hand; of a plan without blocks, of the step
    Index row_in_block = 0;    // the step's first
    const void* block_x = nullptr;  // the block's rows, where they are read in the user's array
    Index row_in_step = 0;     // the chunk's first
    Index sum = 0;             // which of the thread's sums is made
    int pieces = 1;            // of the step at hand
    double weight_sum = 0;     // of the batch's rows
    bool stop = false;         // agreed by all threads at the last barrier
    Index first_row() const { return row + row_in_step; }
  };

  Tasks bind_all() const;
  void bind_rest();
  Task bind(const Step& step, int thread) const;
  Gather bind_gather(const Step& step, Range rows, int thread) const;
  DenseForward bind_forward(const Step& step, Range own, int thread) const;
  Activate bind_activate(const Step& step, Range own, int thread) const;
  Add bind_add(const Step& step, Range own, int thread) const;
  DropoutOf<Dropout> bind_dropout(const Step& step, Range own, int thread) const;
  LayerNorm bind_layer_norm(const Step& step, Range rows, int thread) const;
  BatchNorm bind_batch_norm(const Step& step, Range own, int thread) const;
  RowLoss bind_loss(const Step& step, Range rows, int thread) const;
  Sink bind_sink(const Step& step, int thread) const;
  PassGradient bind_pass(const Step& step, Range own, int thread) const;
  SoftmaxBackward bind_softmax_gradient(const Step& step, Range own, int thread) const;
  DropoutOf<DropoutGradient> bind_dropout_gradient(const Step& step, Range own, int thread) const;
  LayerNormInputGradient bind_layer_norm_input_gradient(const Step& step, Range rows, int thread) const;
  LayerNormWeightGradient bind_layer_norm_weight_gradient(const Step& step, Range own, int thread) const;
  BatchNormGradient bind_batch_norm_gradient(const Step& step, Range own, int thread) const;
  CommitStatistics bind_commit_statistics(const Step& step, Range own, int thread) const;
  DenseInputGradient bind_input_gradient(const Step& step, Range own, int thread) const;
  DenseWeightGradient bind_weight_gradient(const Step& step, Range own, int thread) const;
  Commit bind_commit(int thread) const;
  Range own_of_gram(const Step& step, int thread) const;
  Gram bind_gram(const Step& step, Range rows, int thread) const;
  BlockForward bind_block_forward(const Step& step, Range own, int thread) const;
  KeepStep bind_keep_step(const Step& step, Range own, int thread) const;
  Update bind_update(const Step& step, Range own) const;
  Parameter parameter(int index) const;
  Parameter parameter(int index, int thread) const;
  void make_own_columns();
  void make_turned_weights();
  double* statistics(int index, int row) const;
  Range rows_of(const Step& step, Range own) const;
  Range columns_of(const Step& step, Range own) const;
  Range inputs_of(const Step& step, Range own) const;
  char* data_or_null(int buffer, int thread) const;
  Index ld(int buffer) const { return plan_.buffers[buffer].ld; }

  void walk(const Slice& slice, int thread, Mark from, Mark to);
  Next walk_pass(const Slice& slice, int thread, Mark from, Mark to);
  void take_weights(int thread);
  void give_weights(int thread);
  Next walk_block(Moment& moment, Mark from, Mark to);
  Next walk_rounds(Moment& moment, Mark from, Mark to);
  Next one_walks_rounds(Moment& moment, Mark from, Mark to);
  bool records(int thread) const;
  Next walk_chunks(Moment& moment);
  void take_chunks(Moment& moment);
  const std::vector<Task>& tasks_of(const Moment& moment) const;
  void add_sum(int thread, Index sum, Index chunk);
  Index bytes_of_sum() const { return ld(sums_) * size_of(plan_.spec.dtype); }
  Next walk_steps(Moment& moment, int from, int to);
  const void* place_of_block(const Moment& moment) const;
  template <class Arguments>
  void read_in_place(Arguments& arguments, const void* x, const Moment& moment) const {
    arguments.x = x;
    arguments.x_ld = moment.slice.x.row_stride / size_of(plan_.spec.dtype);
  }
  template <class Touch>
  void each_line_ahead(const Moment& moment, Index rows, Touch&& touch) const;
  void fetch_ahead(const Moment& moment) const;
  void read_ahead(const Moment& moment) const;
  Array rows_from(const Array& array, const Moment& moment) const;
  const Index* order_from(const Moment& moment) const;
  const double* scalars_of(const Moment& moment) const {
    return moment.slice.scalars + moment.round * moment.slice.scalars_per_step;
  }
  bool told_to_stop(const Moment& moment);
  template <class Call>
  void in_pieces(const Moment& moment, Range all, Call&& call);
  template <class Call>
  void in_pieces(const Moment& moment, Range rows, Range columns, Call&& call);

  // Most tasks are their kernel's arguments and nothing else.
  template <class Arguments>
  static Next call(void (*kernel)(const Arguments&) noexcept, const Arguments& arguments) {
    kernel(arguments);
    return Next::step;
  }
  Next run(const Nothing&, Moment&) { return Next::step; }
  Next run(const GatherInput& task, Moment& moment);
  Next run(const GatherTargets& task, Moment& moment);
  Next run(const GatherLabels& task, Moment& moment);
  Next run(const GatherWeights& task, Moment& moment);
  Next run(const DenseForward& task, Moment& moment);
  Next run(const Activate& task, Moment&) { return call(table_.activate, task); }
  Next run(const Add& task, Moment&) { return call(table_.add, task); }
  Next run(const DropoutOf<Dropout>& task, Moment& moment) { return drop(table_.dropout, task, moment); }
  Next run(const LayerNorm& task, Moment&) { return call(table_.layer_norm, task); }
  Next run(const BatchNorm& task, Moment&) { return call(table_.batch_norm, task); }
  Next run(const RowLoss& task, Moment& moment);
  Next run(const PassGradient& task, Moment&) { return call(table_.pass_gradient, task); }
  Next run(const SoftmaxBackward& task, Moment&) { return call(table_.softmax_backward, task); }
  Next run(const DropoutOf<DropoutGradient>& task, Moment& moment) { return drop(table_.dropout_gradient, task, moment); }
  Next run(const DenseInputGradient& task, Moment& moment);
  Next run(const DenseWeightGradient& task, Moment& moment);
  Next run(const LayerNormInputGradient& task, Moment&) { return call(table_.layer_norm_input_gradient, task); }
  Next run(const LayerNormWeightGradient& task, Moment&) { return call(table_.layer_norm_weight_gradient, task); }
  Next run(const BatchNormGradient& task, Moment&) { return call(table_.batch_norm_gradient, task); }
  Next run(const Commit& task, Moment& moment);
  Next run(const CommitStatistics& task, Moment&) { return call(table_.commit_statistics, task); }
  Next run(const Update& task, Moment& moment);
  Next run(const BlockProduct& task, Moment& moment);
  Next run(const Gram& task, Moment& moment);
  Next run(const BlockForward& task, Moment& moment);
  Next run(const KeepStep& task, Moment& moment);
  Next run(const BlockUpdate& task, Moment& moment);
  template <class Kernel>
  Next drop(void (*kernel)(const Kernel&) noexcept, DropoutOf<Kernel> task, const Moment& moment);

  Plan plan_;
  const KernelTable& table_;
  Storage storage_;
  Arena arena_;
  std::vector<OwnColumns> own_columns_;  // of each thread, where the plan says so
  std::map<int, TurnedWeights> turned_;  // by parameter, where the plan says so
  Barrier barrier_;
  Tasks tasks_, rest_;                    // for the rows of a batch, or of a chunk; for those of a smaller last chunk
  Progress gram_made_;                    // the place in the order to which the block's gram is there, of steps by one
  std::atomic<Index> chunk_taken_{0};     // the next that a thread may take
  const int sums_;                        // buffer of each thread's gradients of chunks, or none
  Progress sums_added_;                   // so many chunks' gradients are in their sum
  std::atomic<bool> stop_{false};         // set by thread 0 alone
  std::chrono::steady_clock::time_point asked_;
  Outcome outcome_{};                     // steps by thread 0, status by the thread that records
  RoundsEnd rounds_end_{};                // of a block, by that thread, where it walks the rounds alone
};

}  // namespace thalweg

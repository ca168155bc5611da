// From a spec and a schedule to a plan: buffers, and steps in the order in which they run, with their owners.
// builder.cpp goes forward and updates; backward.cpp has the way back, block.cpp what exact-block SGD does instead.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "program/graph.hpp"
#include "program/plan.hpp"
#include "program/schedule.hpp"
#include "program/spec.hpp"

namespace thalweg {

Plan build_plan(const Spec& spec, const Schedule& schedule);

class Builder {
 public:
  Builder(const Spec& spec, const Schedule& schedule);
  Plan build() &&;

 private:
  const Spec& spec() const { return plan_.spec; }
  Index rows() const { return spec().rows_at_a_time(); }
  const LayerSpec& layer(int l) const { return spec().layers[l]; }
  int layers() const { return static_cast<int>(spec().layers.size()); }
  int last_value() const { return layers(); }
  bool by_columns(int l) const { return schedule_.by_columns[l]; }
  bool private_input() const;
  bool own_columns() const;
  Index scratch_elements() const;

  Space owner_of_output(int l) const;

  int add_matrix(const std::string& name, Index rows, Index columns, bool per_thread = false);
  int add_column(const std::string& name, Index rows, bool per_thread = false);
  int add_outside(const std::string& name, Index rows, Index columns);
  void value_buffers();
  void norm_buffers();
  void loss_buffers();
  void parameter_buffers();
  void lay_apart();
  void lay_apart(const std::vector<int>& buffers, int v);
  bool touched_by_columns(int buffer, int v) const;

  Step& add_step(Kind kind, Space owner, std::vector<Access> accesses, double flops);
  Step& add_layer_step(Kind kind, int l, Space owner, std::vector<Access> accesses, double flops_per_element);
  void set_mark(Mark mark) { plan_.marks[mark] = static_cast<int>(plan_.steps.size()); }
  static Space needed(Space owner) { return owner == batch_rows ? batch_rows : whole; }
  bool steps_by_one() const { return schedule_.steps_by_one; }
  bool in_chunks() const { return plan_.in_chunks(); }
  Space part_of_parameter(Space owner) const { return owner == batch_rows && !steps_by_one() ? whole : owner; }
  Space owner_of_weights(int l) const;
  double product_flops(int l) const;

  void gather_weights();
  void gather();
  void forward(int l);
  void dense_forward(int l);
  void norm_forward(int l);
  void loss();

  void backward();
  void through(int l);
  void into_sink(Step& step, int value);
  void pass(int from, int to);
  void activate_backward(int value);
  void softmax_gradient(int l);
  void dense_input_gradient(int l);
  void dropout_gradient(int l);
  void layer_norm_gradients(int l);
  void batch_norm_gradient(int l);
  void weight_gradient(int l);
  void commit();

  bool in_block() const { return spec().block > 1; }
  Index block_rows() const;
  void turn_narrow_layers();
  void block_buffers();
  void begin_block();
  void gram();
  void block_product();
  void block_forward();
  void keep_step();
  void end_block();

  void commit_statistics();
  void updates();
  void flat_update();

  Plan plan_;
  Graph graph_;
  const Schedule& schedule_;
  std::vector<Space> owner_;               // of each value
  std::vector<int> value_, gradient_;      // buffer of each value, of its gradient
  std::vector<int> saved_;                 // of each value: what its activation's derivative is written in, or none
  std::vector<int> sent_;                  // of each value: how many readers have sent their gradient
  std::vector<int> weight_, weight_gradient_;  // of each parameter
  std::vector<NormBuffers> norm_;          // of each layer
  int targets_ = none, loss_ = none, fault_ = none, row_weight_ = none, scratch_ = none;
  int block_start_ = none, block_gram_ = none, block_kept_ = none;
  Space block_space_ = none;
};

}  // namespace thalweg

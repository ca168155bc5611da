// What crosses the door downward: a model and a job as flat numbers.
#pragma once

#include <string>
#include <vector>

#include "base/types.hpp"
#include "kernels/table.hpp"

namespace thalweg {

// Bytes of an element.
constexpr Index size_of(DType dtype) { return dtype == DType::f32 ? 4 : 8; }

enum class LayerKind : int { dense, activation, dropout, layer_norm, batch_norm, add };
constexpr const char* layer_names[] = {"dense", "activation", "dropout", "layer_norm", "batch_norm", "add"};
constexpr int layer_count = count_of(layer_names);
static_assert(layer_count == static_cast<int>(LayerKind::add) + 1, "a name for each");

// A layer of a model that is a list, with jumps forward: value 0 is x, value l + 1 is what layer l puts out.
struct LayerSpec {
  LayerKind kind = LayerKind::dense;
  Index units = 1;
  int input = 0;   // the value that it reads
  int other = -1;  // the second one; of add
  Activation activation = Activation::identity;  // dense, activation
  bool bias = false;                             // dense
  bool frozen = false;                           // its parameters stay as they are
  double number = 0;                             // rate of dropout; eps of a norm
  double momentum = 0;                           // batch_norm: share of a batch in the running statistics
  Regulation weight, offset;                     // of its parameter's rows of weights, and of the row of bias
};

// What distinguishes kinds where steps are planned: whether the layer has a parameter, one that training changes, and
// whether it goes with the owner of what it reads, value by value (softmax crosses the columns of a row).
constexpr bool has_parameter(LayerKind kind) {
  return kind == LayerKind::dense || kind == LayerKind::layer_norm || kind == LayerKind::batch_norm;
}
inline bool trains(const LayerSpec& layer) { return has_parameter(layer.kind) && !layer.frozen; }
inline bool elementwise(const LayerSpec& layer) {
  if (layer.kind == LayerKind::activation) return layer.activation != Activation::softmax;
  return layer.kind == LayerKind::dropout || layer.kind == LayerKind::add;
}

enum class Targets : int { none, values, labels };

// A job for `batch` rows at a time: forward; with a loss, forward and loss; with backward, gradients too; with a rule,
// updates. Fused: the update happens in the weight gradient, and no gradient is kept. A job with backward is training:
// dropout drops, and batch normalisation takes the batch's statistics.
struct Spec {
  DType dtype = DType::f32;
  Index batch = 1;
  Index inputs = 1;
  bool standardize = false;  // x is shifted and scaled as it is gathered, by the model's first statistics
  std::vector<LayerSpec> layers;
  Loss loss = Loss::none;
  Targets targets = Targets::none;
  double smoothing = 0;  // of cross_entropy's labels
  bool weighted = false;
  Rule rule = Rule::none;
  bool regulated = false;  // see Parameter in kernels/arguments.hpp
  bool averaged = false;
  bool backward = false;
  bool fused = false;
  bool many_steps = false;  // a run is to go over many steps, for which it may prepare
  Index block = 1;  // more: exact-block SGD, the first layer's updates of so many steps at a time (block.cpp)
  Index chunk = 0;  // > 0, set by the planner: so many of the batch's rows at a time until all gradients are there (chunks.cpp)
  bool input_gradient = false;
  bool in_place = false;  // x has our dtype, neighbouring columns and the batch's order: no gather
  Index flat = 0;         // > 0: no layers, one parameter of so many elements, to be updated

  Index rows_at_a_time() const { return chunk > 0 ? chunk : batch; }
};

// What the planner may use. barrier_ns: the measured cost of a barrier between two threads.
struct Machine {
  int threads = 1;
  bool exactly = false;  // so many threads, even where fewer are faster
  double barrier_ns = 50;
};

// The names of enumerators, in their order.
inline std::vector<std::string> activation_list() { return {activation_names, activation_names + activation_count}; }
inline std::vector<std::string> loss_list() { return {loss_names, loss_names + loss_count}; }
inline std::vector<std::string> rule_list() { return {rule_names, rule_names + rule_count}; }
inline std::vector<std::string> layer_list() { return {layer_names, layer_names + layer_count}; }

}  // namespace thalweg

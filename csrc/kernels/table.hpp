// What the program floor knows of the kernels: their arguments, and one table of pointers per ISA and dtype.
#pragma once

#include "kernels/arguments.hpp"
#include "kernels/block_arguments.hpp"
#include "kernels/layer_arguments.hpp"

namespace thalweg {

struct KernelTable {
  const char* isa;
  DType dtype;
  Index lanes;
  void (*gather)(const Gather&) noexcept;
  void (*gather_labels)(const GatherLabels&) noexcept;
  void (*dense_forward)(const DenseForward&) noexcept;
  void (*dense_input_gradient)(const DenseInputGradient&) noexcept;
  void (*dense_weight_gradient)(const DenseWeightGradient&) noexcept;
  void (*update)(const Update&) noexcept;
  void (*gram)(const Gram&) noexcept;
  void (*block_forward)(const BlockForward&) noexcept;
  void (*keep_step)(const KeepStep&) noexcept;
  void (*activate)(const Activate&) noexcept;
  void (*softmax_backward)(const SoftmaxBackward&) noexcept;
  void (*pass_gradient)(const PassGradient&) noexcept;
  void (*add)(const Add&) noexcept;
  void (*dropout)(const Dropout&) noexcept;
  void (*dropout_gradient)(const DropoutGradient&) noexcept;
  void (*layer_norm)(const LayerNorm&) noexcept;
  void (*layer_norm_input_gradient)(const LayerNormInputGradient&) noexcept;
  void (*layer_norm_weight_gradient)(const LayerNormWeightGradient&) noexcept;
  void (*batch_norm)(const BatchNorm&) noexcept;
  void (*batch_norm_gradient)(const BatchNormGradient&) noexcept;
  void (*commit_statistics)(const CommitStatistics&) noexcept;
  void (*row_loss)(const RowLoss&) noexcept;
  Index (*draw_order)(const DrawOrder&) noexcept;
  double (*sum_rows)(const SumRows&) noexcept;
  double (*sum_squares)(const SumSquares&) noexcept;
};

}  // namespace thalweg

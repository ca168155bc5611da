// Every kernel of an ISA, and its two tables.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/block.hpp"
#include "kernels/dense.hpp"
#include "kernels/dropout.hpp"
#include "kernels/gather.hpp"
#include "kernels/input_gradient.hpp"
#include "kernels/loss.hpp"
#include "kernels/norm.hpp"
#include "kernels/order.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "kernels/update.hpp"
#include "simd/simd.hpp"

#define THALWEG_TEXT_(x) #x
#define THALWEG_TEXT(x) THALWEG_TEXT_(x)

namespace thalweg::THALWEG_ISA {

template <class T>
constexpr KernelTable table_of(DType dtype) {
  return {THALWEG_TEXT(THALWEG_ISA),
          dtype,
          Vec<T>::lanes,
          gather<T>,
          gather_labels<T>,
          dense_forward<T>,
          dense_input_gradient<T>,
          dense_weight_gradient<T>,
          update<T>,
          gram<T>,
          block_forward<T>,
          keep_step<T>,
          activate<T>,
          softmax_backward<T>,
          pass_gradient<T>,
          add<T>,
          dropout<T>,
          dropout_gradient<T>,
          layer_norm<T>,
          layer_norm_input_gradient<T>,
          layer_norm_weight_gradient<T>,
          batch_norm<T>,
          batch_norm_gradient<T>,
          commit_statistics<T>,
          row_loss<T>,
          draw_order,
          sum_rows<T>,
          sum_squares<T>};
}

extern const KernelTable tables[2];
const KernelTable tables[2] = {table_of<float>(DType::f32), table_of<double>(DType::f64)};

}  // namespace thalweg::THALWEG_ISA

// The arguments of the kernels of exact-block SGD, whose plan is made in program/block.cpp. For the rows r of a block of
// steps, before which the first layer's weights and bias are W and b:
//
//   start_ro = x_r W + b          gram_rs = x_r . x_s + (1 with a bias)          kept_so = -lr dz_so
//   z_ro = start_ro + sum over rows s of the block's earlier steps of gram_rs kept_so
//   W += X^T kept and b += the sum of kept, after the block's last step
//
// which is what SGD without momentum or decay makes of it step by step, in matrix products.
#pragma once

#include "kernels/names.hpp"

namespace thalweg {

// gram_ij = x_i . x_j + offset for i in rows and j <= i, or some more: rows begin and end at multiples of gram_rows, up to
// one of which x has rows, and gram both.
constexpr Index gram_rows = 4;
struct Gram {
  void* gram;
  Index gram_ld;
  const void* x;
  Index x_ld;
  Index inputs;
  double offset;
  Range rows;
};

// y_bo = act(z_bo), z_bo = start_ro + sum over s < first of gram_rs kept_so, r = first + b, for the `batch` rows b of a
// step and o in columns. z and fault as in DenseForward; y may not be start.
struct BlockForward {
  void* y;
  void* z;
  Index y_ld;
  const void* start;
  Index start_ld;
  const void* gram;
  Index gram_ld;
  const void* kept;
  Index kept_ld;
  void* fault;
  Activation activation;
  Index first, batch;
  Range columns;
};

// kept_ro = -lr dz_bo, r = first + b, for the `batch` rows b of a step and o in columns.
struct KeepStep {
  void* kept;
  Index kept_ld;
  const void* dz;
  Index dz_ld;
  double lr;
  Index first, batch;
  Range columns;
};

}  // namespace thalweg

// Copies of matrices between memory with pads and without. Strides in bytes.
#pragma once

#include <cstring>

#include "base/types.hpp"

namespace thalweg {

inline void copy_rows(char* to, Index to_stride, const char* from, Index from_stride, Index rows, Index row_bytes) {
  for (Index r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, row_bytes);
}

}  // namespace thalweg

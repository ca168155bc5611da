// Words for sizes, dtypes and ranges that every room of csrc may use. Plain data: no code that a linker could merge.
#pragma once

#include <cstdint>

namespace thalweg {

using Index = std::int64_t;

enum class DType : int { f32, f64 };

// Half-open: begin, begin + 1, ..., end - 1.
struct Range {
  Index begin;
  Index end;
};

}  // namespace thalweg

// What a thread owns of the first layer, its columns of W, of the bias and of the optimizer's state, in memory of its own
// for the length of a slice. Where they lie, in rows of which the neighbour owns the rest, the hardware's prefetcher keeps
// fetching the neighbour's lines, who then waits for them at every update (docs/speed.md).
#pragma once

#include <memory>

#include "base/arena.hpp"
#include "kernels/table.hpp"
#include "program/plan.hpp"

namespace thalweg {

class OwnColumns {
 public:
  // `whole`: where the parameter lies. The last owner's columns end at the pads' end.
  OwnColumns(const Parameter& whole, Index rows, Range columns, DType dtype);

  // The parameter as kernels are to see it: for the own columns only.
  Parameter parameter() const;

  void take() const { copy(true); }
  void give() const { copy(false); }

 private:
  static int blocks_of(const Parameter& whole);  // W, and the slots that there are
  void* whole_block(int block) const { return block == 0 ? whole_.w : whole_.slots[block - 1]; }
  char* own_block(int block) const { return arena_->data() + block * rows_ * ld_ * element_bytes_; }
  void copy(bool in) const;

  Parameter whole_;
  int blocks_;
  Index rows_;
  Range columns_;
  Index ld_, element_bytes_;
  std::unique_ptr<Arena> arena_;
};

}  // namespace thalweg

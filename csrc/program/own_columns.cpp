#include "program/own_columns.hpp"

#include "base/copy.hpp"

namespace thalweg {

OwnColumns::OwnColumns(const Parameter& whole, Index rows, Range columns, DType dtype)
    : whole_(whole), blocks_(blocks_of(whole)), rows_(rows), columns_(columns), ld_(leading_dimension(columns.end - columns.begin, dtype)),
      element_bytes_(size_of(dtype)), arena_(new Arena(blocks_ * rows * ld_ * element_bytes_)) {}

int OwnColumns::blocks_of(const Parameter& whole) {
  int blocks = 1;
  while (blocks <= max_slots && whole.slots[blocks - 1]) ++blocks;
  return blocks;
}

// Pointers such that the own columns keep their numbers.
Parameter OwnColumns::parameter() const {
  Parameter own = whole_;
  const auto at = [this](int block) { return own_block(block) - columns_.begin * element_bytes_; };
  own.w = at(0);
  for (int s = 0; s < max_slots; ++s) own.slots[s] = s + 1 < blocks_ ? at(1 + s) : nullptr;
  own.ld = ld_;
  return own;
}

void OwnColumns::copy(bool in) const {
  const Index bytes = (columns_.end - columns_.begin) * element_bytes_;
  const Index whole_stride = whole_.ld * element_bytes_, own_stride = ld_ * element_bytes_;
  for (int block = 0; block < blocks_; ++block) {
    char* whole = static_cast<char*>(whole_block(block)) + columns_.begin * element_bytes_;
    char* own = own_block(block);
    if (in) copy_rows(own, own_stride, whole, whole_stride, rows_, bytes);
    else copy_rows(whole, whole_stride, own, own_stride, rows_, bytes);
  }
}

}  // namespace thalweg

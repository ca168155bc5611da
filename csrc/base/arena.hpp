// One aligned, zeroed block of memory, handed out by offset. The only place in csrc that asks the system for memory.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "base/types.hpp"

namespace thalweg {

class Arena {
 public:
  static constexpr Index alignment = 64;        // a cache line, and the widest vector
  static constexpr Index huge_page = 2 << 20;   // from here on a block asks for huge pages: fewer TLB misses

  explicit Arena(Index bytes) : bytes_(bytes) {
    const Index unit = bytes >= huge_page ? huge_page : alignment;
    const Index rounded = (bytes + unit - 1) / unit * unit;
    block_.reset(static_cast<char*>(std::aligned_alloc(unit, rounded > 0 ? rounded : unit)));
    if (!block_) throw std::bad_alloc();
#ifdef __linux__
    if (unit == huge_page) (void)madvise(block_.get(), rounded, MADV_HUGEPAGE);  // a wish: failure costs only speed
#endif
    std::memset(block_.get(), 0, bytes);
  }

  char* data() const { return block_.get(); }
  Index bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(char* block) const { std::free(block); }
  };
  std::unique_ptr<char, Free> block_;
  Index bytes_;
};

}  // namespace thalweg

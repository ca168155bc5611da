// Words of a CPU that are not about data: the pause of a spinning thread, and how denormal numbers are treated.
// Baseline code: for the program floor, not for kernels.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace thalweg {

inline void pause_spinning() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The floating-point mode of this thread, and the bits in it that make denormal numbers zero.
#if defined(__x86_64__)
constexpr std::uint64_t denormals_are_zero = 0x8040;  // MXCSR: flush to zero, denormals are zero
inline std::uint64_t float_mode() { return _mm_getcsr(); }
inline void set_float_mode(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
constexpr std::uint64_t denormals_are_zero = std::uint64_t(1) << 24;  // FPCR: FZ
inline std::uint64_t float_mode() {
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(std::uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
constexpr std::uint64_t denormals_are_zero = 0;
inline std::uint64_t float_mode() { return 0; }
inline void set_float_mode(std::uint64_t) {}
#endif

// While it lives, this thread reads and writes denormal numbers as zero (each costs 100 cycles and more); then the
// mode of before is back.
class FlushDenormals {
 public:
  FlushDenormals() : before_(float_mode()) { set_float_mode(before_ | denormals_are_zero); }
  ~FlushDenormals() { set_float_mode(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  std::uint64_t before_;
};

}  // namespace thalweg

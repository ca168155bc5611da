// The words of simd.hpp that need an instruction, in AVX2 and FMA.
#pragma once

#include <immintrin.h>

namespace thalweg::THALWEG_ISA {

// A tile of 6 x 2 vectors: 12 accumulators, 2 of B and 1 of A in 16 registers.
template <class T>
struct Tile {
  static constexpr int rows = 6;
  static constexpr int vectors = 2;
  static constexpr int depth = 256;     // of B and A, whose lines then stay in L1: a tile takes two lines in 6 cycles
  static constexpr bool packs = true;   // lines that lie far apart come too slowly for that
  static constexpr int few_rows = 6, few_vectors = 2;  // few_rows.hpp
};

inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fmadd_ps(a.reg, b.reg, c.reg)}; }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fmadd_pd(a.reg, b.reg, c.reg)}; }

inline Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.reg)}; }
inline Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.reg)}; }

// Bit i: lane i is not zero, or NaN.
inline std::uint64_t nonzero_lanes(Vec<float> a) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a.reg, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
}
inline std::uint64_t nonzero_lanes(Vec<double> a) {
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a.reg, _mm256_setzero_pd(), _CMP_NEQ_UQ)));
}

// b where either is NaN.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm256_max_ps(a.reg, b.reg)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm256_max_pd(a.reg, b.reg)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm256_min_ps(a.reg, b.reg)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm256_min_pd(a.reg, b.reg)}; }

// The nearest integer, ties to even.
constexpr int to_nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline Vec<float> nearest(Vec<float> a) { return {_mm256_round_ps(a.reg, to_nearest)}; }
inline Vec<double> nearest(Vec<double> a) { return {_mm256_round_pd(a.reg, to_nearest)}; }

}  // namespace thalweg::THALWEG_ISA

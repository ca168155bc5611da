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

// The words of simd.hpp that need an instruction, in AVX-512 (F, BW, CD, DQ, VL).
#pragma once

#include <immintrin.h>

namespace thalweg::THALWEG_ISA {

// A tile of 6 x 4 vectors: 24 accumulators, 4 of B and 1 of A in 32 registers.
template <class T>
struct Tile {
  static constexpr int rows = 6;
  static constexpr int vectors = 4;
  static constexpr int depth = 800;      // of B, 64 columns of which then stay in L2 beside rows of A
  static constexpr bool packs = false;  // a tile takes its two lines in 12 cycles: time enough to read in place
  static constexpr int few_rows = 8, few_vectors = 1;  // few_rows.hpp: an FMA reads its number of X
};

inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm512_fmadd_ps(a.reg, b.reg, c.reg)}; }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm512_fmadd_pd(a.reg, b.reg, c.reg)}; }

inline Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.reg)}; }
inline Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.reg)}; }

// Bit i: lane i is not zero, or NaN.
inline std::uint64_t nonzero_lanes(Vec<float> a) { return _mm512_cmp_ps_mask(a.reg, _mm512_setzero_ps(), _CMP_NEQ_UQ); }
inline std::uint64_t nonzero_lanes(Vec<double> a) { return _mm512_cmp_pd_mask(a.reg, _mm512_setzero_pd(), _CMP_NEQ_UQ); }

// b where either is NaN.
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm512_max_ps(a.reg, b.reg)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm512_max_pd(a.reg, b.reg)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm512_min_ps(a.reg, b.reg)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm512_min_pd(a.reg, b.reg)}; }

// The nearest integer, ties to even.
constexpr int to_nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline Vec<float> nearest(Vec<float> a) { return {_mm512_roundscale_ps(a.reg, to_nearest)}; }
inline Vec<double> nearest(Vec<double> a) { return {_mm512_roundscale_pd(a.reg, to_nearest)}; }

}  // namespace thalweg::THALWEG_ISA

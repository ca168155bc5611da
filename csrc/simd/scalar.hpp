// The words of simd.hpp that need an instruction, spelled without one: any CPU that the compiler knows.
#pragma once

namespace thalweg::THALWEG_ISA {

template <class T>
struct Tile {
  static constexpr int rows = 4;
  static constexpr int vectors = 2;
  static constexpr int depth = 800;
  static constexpr bool packs = false;
  static constexpr int few_rows = 4, few_vectors = 2;  // few_rows.hpp
};

// a b + c, rounded twice.
template <class T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;
}

template <class T>
inline Vec<T> sqrt(Vec<T> a) {
  for (int i = 0; i < Vec<T>::lanes; ++i) a.reg[i] = std::sqrt(a.reg[i]);
  return a;
}

// Bit i: lane i is not zero, or NaN.
template <class T>
inline std::uint64_t nonzero_lanes(Vec<T> a) {
  std::uint64_t lanes = 0;
  for (int i = 0; i < Vec<T>::lanes; ++i) lanes |= std::uint64_t(a.reg[i] != 0) << i;
  return lanes;
}

// b where either is NaN.
template <class T>
inline Vec<T> max(Vec<T> a, Vec<T> b) {
  return {a.reg > b.reg ? a.reg : b.reg};
}
template <class T>
inline Vec<T> min(Vec<T> a, Vec<T> b) {
  return {a.reg < b.reg ? a.reg : b.reg};
}

// The nearest integer, ties to even, for |a| < 2^(mantissa - 1).
template <class T>
inline Vec<T> nearest(Vec<T> a) {
  return (a + integer_magic<T>()) - integer_magic<T>();
}

}  // namespace thalweg::THALWEG_ISA

// The vocabulary of a vector, and its portable spelling in the vector extensions of GCC and Clang.
//
// Kernels speak these words only, so one source serves every ISA and both dtypes. An ISA's header spells again what the
// compiler would spell badly: fma, sqrt, max, min, nearest. Every word acts lane by lane and means the same everywhere,
// with one exception: portable fma rounds twice, so the scalar ISA has bits of its own.
#pragma once

#ifndef THALWEG_ISA
#error "define THALWEG_ISA and THALWEG_VECTOR_BYTES (csrc/isa/*.cpp do) before including a word or a kernel"
#endif

#include <cmath>
#include <cstdint>

#include "base/types.hpp"

namespace thalweg::THALWEG_ISA {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Type = std::int32_t;
  using Wrapping = std::uint32_t;
  static constexpr int mantissa = 23;
  static constexpr Type sign = INT32_MIN;
};
template <>
struct BitsOf<double> {
  using Type = std::int64_t;
  using Wrapping = std::uint64_t;
  static constexpr int mantissa = 52;
  static constexpr Type sign = INT64_MIN;
};

// A register of `lanes` elements, and the same register seen as integers.
template <class T>
struct Vec {
  static constexpr int lanes = THALWEG_VECTOR_BYTES / sizeof(T);
  using Bit = typename BitsOf<T>::Type;
  typedef T Reg __attribute__((vector_size(THALWEG_VECTOR_BYTES)));
  typedef Bit Bits __attribute__((vector_size(THALWEG_VECTOR_BYTES)));
  typedef typename BitsOf<T>::Wrapping Wrapping __attribute__((vector_size(THALWEG_VECTOR_BYTES)));
  Reg reg;
};

// As many 32-bit words as a Vec<T> has lanes; + - * ^ >> are the language's own.
template <class T>
struct WordsOf {
  typedef std::uint32_t Type __attribute__((vector_size(THALWEG_VECTOR_BYTES / sizeof(T) * 4)));
  typedef std::int32_t Signed __attribute__((vector_size(THALWEG_VECTOR_BYTES / sizeof(T) * 4)));
};
template <class T>
using Words = typename WordsOf<T>::Type;

// A mask: all bits of a lane set where true.
template <class T>
struct Mask {
  typename Vec<T>::Bits bits;
};

// Compile-time lane numbers 0, 1, ..., lanes - 1.
template <int... I>
struct Lanes {};
template <int n, int... I>
struct CountLanes : CountLanes<n - 1, n - 1, I...> {};
template <int... I>
struct CountLanes<0, I...> {
  using Type = Lanes<I...>;
};
template <class T>
using LanesOf = typename CountLanes<Vec<T>::lanes>::Type;

template <class T, int... I>
inline Vec<T> set(T x, Lanes<I...>) {
  return {typename Vec<T>::Reg{(void(I), x)...}};
}
template <class T>
inline Vec<T> set(T x) { return set(x, LanesOf<T>{}); }

// 0, 1, ..., lanes - 1; and words below 2^24 as numbers.
template <class T, int... I>
inline Words<T> count(Lanes<I...>) { return Words<T>{I...}; }
template <class T>
inline Words<T> count() { return count<T>(LanesOf<T>{}); }
template <class T>
inline Vec<T> to_floats(Words<T> words) {
  return {__builtin_convertvector((typename WordsOf<T>::Signed)words, typename Vec<T>::Reg)};
}

// Any alignment down to that of T.
template <class T>
inline Vec<T> load(const T* p) {
  typedef T Unaligned __attribute__((vector_size(THALWEG_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  return {*reinterpret_cast<const Unaligned*>(p)};
}
template <class T>
inline void store(T* p, Vec<T> v) {
  typedef T Unaligned __attribute__((vector_size(THALWEG_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  *reinterpret_cast<Unaligned*>(p) = v.reg;
}

// The first n lanes; load_first fills the others with `rest`.
template <class T>
inline Vec<T> load_first(const T* p, Index n, T rest = 0) {
  if (n >= Vec<T>::lanes) return load(p);
  T buffer[Vec<T>::lanes];
  for (Index i = 0; i < Vec<T>::lanes; ++i) buffer[i] = i < n ? p[i] : rest;
  return load(buffer);
}
template <class T>
inline void store_first(T* p, Vec<T> v, Index n) {
  if (n >= Vec<T>::lanes) return store(p, v);
  T buffer[Vec<T>::lanes];
  store(buffer, v);
  for (Index i = 0; i < n; ++i) p[i] = buffer[i];
}

template <class T>
inline Vec<T> operator+(Vec<T> a, Vec<T> b) { return {a.reg + b.reg}; }
template <class T>
inline Vec<T> operator-(Vec<T> a, Vec<T> b) { return {a.reg - b.reg}; }
template <class T>
inline Vec<T> operator*(Vec<T> a, Vec<T> b) { return {a.reg * b.reg}; }
template <class T>
inline Vec<T> operator/(Vec<T> a, Vec<T> b) { return {a.reg / b.reg}; }

// Comparisons are false where a lane is NaN.
template <class T>
inline Mask<T> operator<(Vec<T> a, Vec<T> b) {
  return {a.reg < b.reg};
}
template <class T>
inline Mask<T> operator==(Vec<T> a, Vec<T> b) {
  return {a.reg == b.reg};
}
template <class T>
inline Mask<T> operator&(Mask<T> a, Mask<T> b) {
  return {a.bits & b.bits};
}
template <class T>
inline Mask<T> operator|(Mask<T> a, Mask<T> b) {
  return {a.bits | b.bits};
}
template <class T>
inline Mask<T> operator~(Mask<T> a) {
  return {~a.bits};
}
template <class T>
inline Vec<T> select(Mask<T> mask, Vec<T> yes, Vec<T> no) {
  return {mask.bits ? yes.reg : no.reg};
}

// |a|, and |a| with the sign of b.
template <class T>
inline Vec<T> abs(Vec<T> a) {
  using Bits = typename Vec<T>::Bits;
  return {(typename Vec<T>::Reg)((Bits)a.reg & ~(Bits{} + BitsOf<T>::sign))};
}
template <class T>
inline Vec<T> copy_sign(Vec<T> a, Vec<T> b) {
  using Bits = typename Vec<T>::Bits;
  return {(typename Vec<T>::Reg)((Bits)abs(a).reg | ((Bits)b.reg & (Bits{} + BitsOf<T>::sign)))};
}

// 1.5 * 2^mantissa: adding it leaves an integer's low bits in the low bits of the sum.
template <class T>
inline Vec<T> integer_magic() {
  return set(T(std::int64_t(3) << (BitsOf<T>::mantissa - 1)));
}

// 2^n for integral n in the range of normal exponents; else something, in words that wrap round.
template <class T>
inline Vec<T> power_of_two(Vec<T> n) {
  using Wrapping = typename Vec<T>::Wrapping;
  const Wrapping integer = (Wrapping)(n + integer_magic<T>()).reg;
  return {(typename Vec<T>::Reg)((integer << BitsOf<T>::mantissa) + (Wrapping)set(T(1)).reg)};
}

// x = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for normal x > 0.
template <class T>
struct Split {
  Vec<T> mantissa, exponent;
};
template <class T>
inline Split<T> split_exponent(Vec<T> x) {
  using Bits = typename Vec<T>::Bits;
  using Reg = typename Vec<T>::Reg;
  const Bits shift = (Bits)x.reg - (Bits)set(T(0.70710678118654752440)).reg;  // >= 0 from sqrt(1/2) on
  const Bits exponent = shift >> BitsOf<T>::mantissa;                         // arithmetic: rounds down
  const Bits mantissa = (Bits)x.reg - (exponent << BitsOf<T>::mantissa);
  const Bits magic = (Bits)integer_magic<T>().reg;
  return {{(Reg)mantissa}, Vec<T>{(Reg)(magic + exponent)} - integer_magic<T>()};
}

// Lane i of the result is lane i ^ distance of v.
template <int distance, class T, int... I>
inline Vec<T> exchange(Vec<T> v, Lanes<I...>) {
  return {__builtin_shufflevector(v.reg, v.reg, (I ^ distance)...)};
}

// Sum of all lanes by one fixed tree: lane i meets lane i + lanes/2, then lanes/4, ...
template <class T, int distance = Vec<T>::lanes / 2>
inline T sum_tree(Vec<T> v) {
  if constexpr (distance == 0) return v.reg[0];
  else return sum_tree<T, distance / 2>(v + exchange<distance>(v, LanesOf<T>{}));
}

// Blocks of `distance` lanes change places: the high blocks of a with the low blocks of b.
template <int distance, class T, int... I>
inline void exchange_blocks(Vec<T>& a, Vec<T>& b, Lanes<I...>) {
  constexpr int lanes = Vec<T>::lanes;
  const Vec<T> low = {__builtin_shufflevector(a.reg, b.reg, ((I & distance) ? lanes + I - distance : I)...)};
  b = {__builtin_shufflevector(a.reg, b.reg, ((I & distance) ? lanes + I : I + distance)...)};
  a = low;
}

// rows[i] lane j <-> rows[j] lane i, by exchanging blocks of halving size.
template <class T, int distance = Vec<T>::lanes / 2>
inline void transpose(Vec<T> (&rows)[Vec<T>::lanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < Vec<T>::lanes; ++i)
    if (!(i & distance)) exchange_blocks<distance>(rows[i], rows[i + distance], LanesOf<T>{});
  if constexpr (distance > 1) transpose<T, distance / 2>(rows);
}

// Bits that are set. Compilers know the idiom; where the CPU has no instruction for it __builtin_popcount is a call.
inline Index count_bits(std::uint64_t x) {
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  return static_cast<Index>(((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

// Always inline, as whatever calls nothing else must be: a call without an effect is left out by compilers.
[[gnu::always_inline]] inline void prefetch(const void* p) { __builtin_prefetch(p); }
[[gnu::always_inline]] inline void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace thalweg::THALWEG_ISA

#if defined(__AVX512F__)
#include "simd/avx512.hpp"
#elif defined(__AVX2__)
#include "simd/avx2.hpp"
#else
#include "simd/scalar.hpp"
#endif

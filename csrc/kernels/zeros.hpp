// Where the left matrix of a product is zero. Pixels of background, one-hot columns and counts of words are mostly zero,
// in whole tiles at a time: what is zero in all rows of a tile is left out of its sums. Zero times a finite number changes
// no bit of a chain of FMAs, so the right matrix is looked through first (all_finite); but it makes +0 of a -0, which stands
// for a negative sum too small for its dtype, so every finished sum, with its zeros or without, becomes +0 then (finished).
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// A sum as every product leaves it: a zero is +0.
template <class T>
inline Vec<T> finished(Vec<T> sum) { return sum + set(T(0)); }

// Bit k of row i, at byte i * occupied_ld + k / 8: whether A(i, k) is not zero. So many terms have room.
constexpr Index occupied_terms = 8 * (occupied_ld - 8);  // words of 64 bits may be read from any of them on
static_assert(rows_per_chunk <= occupied_terms);

// A whose rows lie in memory as rows.
template <class T>
void find_in_rows(std::uint8_t* occupied, const T* a, Index ld, Index rows, Index K) {
  constexpr Index word_bits = 64;
  for (Index i = 0; i < rows; ++i)
    for (Index begin = 0; begin < K; begin += word_bits) {
      std::uint64_t word = 0;
      for (Index k = begin; k < smaller(begin + word_bits, K); k += Vec<T>::lanes)
        word |= nonzero_lanes(load_first(a + i * ld + k, K - k)) << (k - begin);
      __builtin_memcpy(occupied + i * occupied_ld + begin / 8, &word, sizeof(word));
    }
}

// A whose rows lie in memory as columns: a vector of them, and a word's terms, at a time.
template <class T>
void find_in_columns(std::uint8_t* occupied, const T* a, Index ld, Index rows, Index K) {
  using Word = typename BitsOf<T>::Wrapping;
  using Masks = typename Vec<T>::Wrapping;
  constexpr Index word_bits = 8 * sizeof(Word);
  for (Index i = 0; i < rows; i += Vec<T>::lanes)
    for (Index begin = 0; begin < K; begin += word_bits) {
      Masks found{}, bit = found + 1;
      for (Index k = begin; k < smaller(begin + word_bits, K); ++k, bit += bit)
        found |= (Masks)(~(load_first(a + k * ld + i, rows - i) == set(T(0)))).bits & bit;
      for (Index l = 0; l < smaller(Vec<T>::lanes, rows - i); ++l) {
        const Word word = found[l];
        __builtin_memcpy(occupied + (i + l) * occupied_ld + begin / 8, &word, sizeof(word));
      }
    }
}

// The terms of a tile, of so many rows from `first` on: bit k of `words` is set where A(i, k) is not zero in one of them.
struct Terms {
  std::uint64_t words[(occupied_terms + 63) / 64];
  Index count = 0;
  void find(const std::uint8_t* occupied, Index first, Index rows, Index K);
};

inline void Terms::find(const std::uint8_t* occupied, Index first, Index rows, Index K) {
  for (Index begin = 0; begin < K; begin += 64) {
    std::uint64_t any = 0, word;
    for (Index i = first; i < first + rows; ++i) {
      __builtin_memcpy(&word, occupied + i * occupied_ld + begin / 8, sizeof(word));
      any |= word;
    }
    if (K - begin < 64) any &= (std::uint64_t(1) << (K - begin)) - 1;
    words[begin / 64] = any;
    count += count_bits(any);
  }
}

// Whether it seems worth while to look at the tiles of a matrix: of its first row no more than two fifths are not zero. More
// rows would have to come from memory before the product asks for them.
template <class T>
bool mostly_zero(const T* x_c, Index columns) {
  Index some = 0;
  for (Index c = 0; c < columns; c += Vec<T>::lanes)
    some += count_bits(nonzero_lanes(load_first(x_c + c, columns - c)));
  return 5 * some <= 2 * columns;
}

// Whether the first K rows of a matrix hold neither NaN nor infinity in their first columns, rounded up to whole vectors.
template <class T>
bool all_finite(const T* b, Index ld, Index K, Index columns) {
  constexpr int vectors = Tile<T>::vectors;
  const Index last = (columns - 1) / Vec<T>::lanes * Vec<T>::lanes;
  std::uint64_t faults = 0;
  for (Index j = 0; j < columns; j += vectors * Vec<T>::lanes) {
    Vec<T> fault[vectors];
    for (Vec<T>& f : fault) f = set(T(0));
    for (Index k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        fault[v] = fma(load(b + k * ld + smaller(j + v * Vec<T>::lanes, last)), set(T(0)), fault[v]);
    for (const Vec<T>& f : fault) faults |= nonzero_lanes(f);
  }
  return faults == 0;
}

}  // namespace thalweg::THALWEG_ISA

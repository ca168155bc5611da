// Where the left matrix of a product is zero. Pixels of background, one-hot columns and counts of words are mostly zero,
// in whole tiles at a time: what is zero in all rows of a tile is left out of its sums. Zero times a finite number changes
// no bit of a chain of FMAs, so the right matrix is looked through first (all_finite).
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// Bit k of `words`: whether A(i, k) is not zero in one of the rows of a tile.
template <class T>
struct Occupied {
  static constexpr Index bits = 64;
  std::uint64_t words[(Tile<T>::depth + bits - 1) / bits];
  Index terms = 0;
};

// Of a tile whose rows lie in memory as rows.
template <class T>
Occupied<T> occupied_by_rows(const T* a, Index ld, Index rows, Index K) {
  Occupied<T> tile;
  for (Index begin = 0; begin < K; begin += tile.bits) {
    std::uint64_t word = 0;
    for (Index k = begin; k < smaller(begin + tile.bits, K); k += Vec<T>::lanes) {
      Vec<T> any = load_first(a + k, K - k);
      for (Index i = 1; i < rows; ++i) any = join_bits(any, load_first(a + i * ld + k, K - k));
      word |= nonzero_lanes(any) << (k - begin);
    }
    tile.words[begin / tile.bits] = word;
    tile.terms += __builtin_popcountll(word);
  }
  return tile;
}

// Of rows that lie as columns: bit k of row i's bytes, for up to most_rows rows and most_k terms.
template <class T>
struct OccupiedColumns {
  static constexpr Index most_rows = gradient_inputs + Vec<T>::lanes, most_k = rows_per_chunk;
  static constexpr Index ld = most_k / 8 + 8;  // words of 64 may begin at any byte
  std::uint8_t bytes[most_rows * ld];

  void find(const T* a, Index a_k, Index rows, Index K) {
    using Word = typename BitsOf<T>::Wrapping;
    constexpr Index in_word = 8 * sizeof(Word);
    for (Index i = 0; i < rows; i += Vec<T>::lanes)
      for (Index begin = 0; begin < K; begin += in_word) {
        typename Vec<T>::Wrapping found{}, bit = found + 1;
        for (Index k = begin; k < smaller(begin + in_word, K); ++k, bit += bit)
          found |= (typename Vec<T>::Wrapping)(~(load_first(a + k * a_k + i, rows - i) == set(T(0)))).bits & bit;
        for (Index l = 0; l < Vec<T>::lanes; ++l) {
          const Word word = found[l];
          __builtin_memcpy(bytes + (i + l) * ld + begin / 8, &word, sizeof(Word));
        }
      }
  }

  // Of a tile's rows, from term k on, which is a multiple of 8.
  Occupied<T> tile(Index first, Index rows, Index k, Index K) const {
    Occupied<T> tile;
    for (Index begin = 0; begin < K; begin += tile.bits) {
      std::uint64_t any = 0, word;
      for (Index i = first; i < first + rows; ++i) {
        __builtin_memcpy(&word, bytes + i * ld + (k + begin) / 8, sizeof(word));
        any |= word;
      }
      if (K - begin < tile.bits) any &= (std::uint64_t(1) << (K - begin)) - 1;
      tile.words[begin / tile.bits] = any;
      tile.terms += __builtin_popcountll(any);
    }
    return tile;
  }
};

// Whether it seems worth while to look at the tiles of a matrix: most numbers of its first row are zero. More rows would
// have to come from memory before the product asks for them.
template <class T>
bool mostly_zero(const T* x_c, Index columns) {
  Index some = 0;
  for (Index c = 0; c < columns; c += Vec<T>::lanes)
    some += __builtin_popcountll(nonzero_lanes(load_first(x_c + c, columns - c)));
  return 2 * some < columns;
}

// Whether the first K rows of a padded matrix hold neither NaN nor infinity in their first columns.
template <class T>
bool all_finite(const T* b, Index ld, Index K, Index columns) {
  constexpr int vectors = 4;
  std::uint64_t faults = 0;
  for (Index j = 0; j < columns; j += vectors * Vec<T>::lanes) {
    const Index last = whole_pads(columns) - Vec<T>::lanes;
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

// The order of rows in an epoch: a uniform permutation (Fisher-Yates, inside out). Row i takes a place j <= i, drawn by word i
// of the key's stream, and what was there goes to place i.
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// 64-bit words, a vector of them at a time and a block of them in memory.
using Random = typename Vec<double>::Wrapping;
constexpr int random_lanes = Vec<double>::lanes, random_block = 512;
struct RandomBlock {
  Random vectors[random_block / random_lanes];
  std::uint64_t operator[](Index i) const { return reinterpret_cast<const std::uint64_t*>(vectors)[i]; }
};

template <int... I>
inline Random count_random(Lanes<I...>) { return Random{I...}; }

// The words mix(key + i * golden) of base/rng.hpp, for i from `first` on.
inline void draw_words(RandomBlock& block, std::uint64_t key, Index first) {
  constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;
  Random counter = (count_random(LanesOf<double>{}) + static_cast<std::uint64_t>(first)) * golden + key;
  for (Random& words : block.vectors) {
    Random x = counter;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    words = x ^ (x >> 31);
    counter += random_lanes * golden;
  }
}

// A uniform integer in [0, bound) from a random word: the high half of a 128-bit product (Lemire 2019). Its bias is
// below bound / 2^64.
inline Index below(Index bound, std::uint64_t word) {
  return static_cast<Index>((static_cast<unsigned __int128>(word) * static_cast<std::uint64_t>(bound)) >> 64);
}

// Which of 64 words from an index on are at most so much: bit i for word i.
inline std::uint64_t at_most(const RandomBlock& block, Index from, std::uint64_t most) {
  std::uint64_t bits = 0;
#pragma GCC unroll 32
  for (int i = 0; i < 64; i += random_lanes)
    bits |= std::uint64_t{lanes_at_most(block.vectors[(from + i) / random_lanes], Random{} + most)} << i;
  return bits;
}

// order_i for the rows i in [0, count) of a block that begins with row `first`.
inline void place_rows(Index* order, const RandomBlock& words, Index first, Index end) {
  for (Index i = first; i < end; ++i) {
    const Index j = below(i + 1, words[i - first]);
    order[i] = order[j];
    order[j] = i;
  }
}

// Rows behind the first `count` matter only where they take one of those places: few do, so all others are passed over
// by a bound on their words.
inline void place_later_rows(Index* order, Index count, const RandomBlock& words, Index first, Range rows) {
  std::uint64_t most;  // count / (rows.begin + 1) of all words, rounded up
  if (__builtin_mul_overflow(~std::uint64_t{0} / (rows.begin + 1) + 1, count, &most)) most = ~std::uint64_t{0};
  for (Index from = 0; from < random_block; from += 64)
    for (std::uint64_t bits = at_most(words, from, most); bits; bits &= bits - 1) {
      const Index at = from + __builtin_ctzll(bits), i = first + at, j = below(i + 1, words[at]);
      if (j < count && rows.begin <= i && i < rows.end) order[j] = i;
    }
}

inline void draw_order(const DrawOrder& d) noexcept {
  RandomBlock words;
  for (Index first = 0; first < d.rows; first += random_block) {
    draw_words(words, d.key, first);
    const Index end = smaller(first + random_block, d.rows), early = smaller(end, d.count);
    place_rows(d.order, words, first, early);
    if (early < end) place_later_rows(d.order, d.count, words, first, {first < d.count ? d.count : first, end});
  }
}

}  // namespace thalweg::THALWEG_ISA

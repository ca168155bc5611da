// The order of rows in an epoch: a uniform permutation (Fisher-Yates). Place i gets the row from a place j >= i, drawn by word
// i of the key's stream, and gives its own for it.
#pragma once

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

// The rows at places behind the first few, so far as these have moved any: a hash table, at most half full.
class Moved {
  static constexpr Index slots = 2048;
  Index place_[slots], row_[slots];  // place -1: free

 public:
  static constexpr Index most = slots / 2;
  Moved() {
    for (Index& place : place_) place = -1;
  }
  Index& operator[](Index place) {
    Index slot = place % slots;
    while (place_[slot] != place && place_[slot] >= 0) slot = (slot + 1) % slots;
    if (place_[slot] < 0) place_[slot] = row_[slot] = place;
    return row_[slot];
  }
};

// The first `count` places; row_at(j) is what lies at place j.
template <class RowAt>
inline void draw_places(const DrawOrder& d, Index count, RowAt&& row_at) {
  RandomBlock words;
  for (Index i = 0; i < count; ++i) {
    if (i % random_block == 0) draw_words(words, d.key, i);
    Index& there = row_at(i + below(d.rows - i, words[i % random_block]));
    const Index row = there;
    there = d.order[i];
    d.order[i] = row;
  }
}

// A few places need not wait until all rows have one.
inline Index draw_order(const DrawOrder& d) noexcept {
  const Index count = d.count <= Moved::most ? d.count : d.rows;
  for (Index i = 0; i < count; ++i) d.order[i] = i;
  if (count == d.rows) {
    draw_places(d, count, [&](Index j) -> Index& { return d.order[j]; });
  } else {
    Moved moved;
    draw_places(d, count, [&](Index j) -> Index& { return j < count ? d.order[j] : moved[j]; });
  }
  return count;
}

}  // namespace thalweg::THALWEG_ISA

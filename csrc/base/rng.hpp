// Counter-based random numbers: what is drawn depends on (seed, stream, counter) alone, never on who draws or when.
#pragma once

#include "base/types.hpp"

namespace thalweg {

// SplitMix64's finaliser (Steele, Lea, Flood 2014, variant 13 of Stafford): a bijection of 64-bit words.
inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The counter-th random word of a stream of a seed.
inline std::uint64_t random_word(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;
  const std::uint64_t key = mix(mix(seed + golden) + stream * golden);
  return mix(key + counter * golden);
}

// A uniform integer in [0, bound) from a random word: the high half of a 128-bit product (Lemire 2019). Its bias is
// below bound / 2^64.
inline Index below(Index bound, std::uint64_t word) {
  return static_cast<Index>((static_cast<unsigned __int128>(word) * static_cast<std::uint64_t>(bound)) >> 64);
}

// Fills order with a uniform permutation of 0..n-1 (Fisher-Yates, inside out).
inline void shuffle(Index* order, Index n, std::uint64_t seed, std::uint64_t stream) {
  for (Index i = 0; i < n; ++i) {
    const Index j = below(i + 1, random_word(seed, stream, static_cast<std::uint64_t>(i)));
    order[i] = order[j];
    order[j] = i;
  }
}

}  // namespace thalweg

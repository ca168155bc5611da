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

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;

// The key of a stream of a seed, whose counter-th random word is mix(key + counter * golden).
inline std::uint64_t random_key(std::uint64_t seed, std::uint64_t stream) {
  return mix(mix(seed + golden) + stream * golden);
}
inline std::uint64_t random_word(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  return mix(random_key(seed, stream) + counter * golden);
}

}  // namespace thalweg

// A product larger than the caches: cut along K and into panels and strips of columns, with B, and A where its rows lie
// apart, packed for tiles that want them so. The bits do not depend on it.
#pragma once

#include "kernels/gemm.hpp"
#include "kernels/rows.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// K in even parts of some 256, where it is deeper than a tile likes.
template <class T>
Index k_step(Index K) {
  if (K <= Tile<T>::depth) return whole_pads(K);
  const Index parts = (K + 255) / 256;
  return whole_pads((K + parts - 1) / parts);
}

// The first of some rows or columns dealt evenly into blocks of whole tiles, each of at most `most`.
template <class T>
Index even_block(Index all, Index most) {
  const Index blocks = (all + most - 1) / most, tiles = Tile<T>::rows * blocks;
  return blocks == 0 ? most : (all + tiles - 1) / tiles * Tile<T>::rows;
}

// Rows of a product whose zeros may be left out, if where they are has yet to be found: in parts of up to `depth` terms.
constexpr Index most_block_rows = 264;
static_assert(Tile<float>::depth <= occupied_terms && Tile<double>::depth <= occupied_terms);

// Columns of C, a panel, within which A stays in L2.
template <class T>
constexpr Index reach = Tile<T>::packs ? 256 : strip<T>;

// The part [k, k + K) of the sums of the strip of columns from j on. Bias, fault, relu and what is wanted soon belong to
// the last part.
template <class T>
Product<T> part_of(const Product<T>& whole, Index j, Index k, Index K) {
  Product<T> p = whole;
  p.c += j;
  p.a += k * p.a_k;
  p.b += k * p.b_ld + j / strip<T> * p.b_strip;
  if (p.occupied) p.occupied += k / 8;
  p.K = K;
  const bool last = k + K >= whole.K;
  p.carry = k > 0;
  p.bias = last && p.bias ? p.bias + j : nullptr;
  p.fault = last && j == 0 ? p.fault : nullptr;
  p.relu = last && p.relu;
  if (!last) p.soon = {};
  for (int s = 0; s < p.soon.blocks; ++s) p.soon.block[s].at += j;
  return p;
}

// Rows enough to make it worth while to pack what they are multiplied with.
template <class T>
bool worth_packing(Index rows) { return Tile<T>::packs && rows >= 4 * Tile<T>::rows; }

// One strip, with B packed where its rows lie apart.
template <class T>
void multiply_strip(Product<T>& p, Index rows, Index columns) {
  alignas(64) T packed[Tile<T>::packs ? Tile<T>::depth * strip<T> : 1];
  if (p.zeros == Zeros::left_out_if_finite)
    p.zeros = all_finite(p.b, p.b_ld, p.K, columns) ? Zeros::left_out : Zeros::kept;
  if (worth_packing<T>(rows) && columns == strip<T> && p.b_ld > strip<T>) {
    for (Index k = 0; k < p.K; ++k)
      for (Index j = 0; j < strip<T>; j += Vec<T>::lanes) store(packed + k * strip<T> + j, load(p.b + k * p.b_ld + j));
    p.b = packed;
    p.b_ld = strip<T>;
  }
  multiply(p, rows, columns);
}

// C = A B for one block of rows, with K cut into blocks where a panel of B would not stay in cache. The first strip of a
// panel packs A for all, where that has room, no terms are left out, and its rows lie apart: by at least their length, so
// that whole vectors are read up to the next row at most. One block is not copied: see multiply.
template <class T>
void multiply_blocked(Product<T>& whole, Index rows, Index columns) {
  const Index step = k_step<T>(whole.K);
  if (whole.K <= step && columns <= strip<T> && !worth_packing<T>(rows) && whole.zeros != Zeros::left_out_if_finite)
    return multiply(whole, rows, columns);
  const bool finds = whole.zeros != Zeros::kept && !whole.occupied;
  const bool packs = whole.room && whole.zeros == Zeros::kept && worth_packing<T>(rows) && columns > 2 * strip<T> &&
                     whole.a_k >= rows;
  std::uint8_t occupied[most_block_rows * occupied_ld];  // by the rows of A in the part of K from `found` on
  Index found = -1;
  const auto b_at = [&](Index k, Index j) { return whole.b + k * whole.b_ld + j / strip<T> * whole.b_strip; };
  for (Index begin = 0; begin < columns; begin += reach<T>)
    for (Index k = 0; k < whole.K || k == 0; k += step) {
      const Index end = smaller(begin + reach<T>, columns), K = smaller(step, whole.K - k);
      const T* next_panel = end < columns ? b_at(0, end) : whole.next_b;
      const T* next_b = k + K < whole.K ? b_at(k + K, begin) : next_panel;
      for (Index j = begin; j < end; j += strip<T>) {
        Product<T> p = part_of(whole, j, k, K);
        p.next_b = j + strip<T> < end ? b_at(k, j + strip<T>) : next_b;
        p.packed = packs ? whole.room : nullptr;
        p.packs = packs && j == begin;
        if (finds && found != k) find_in_rows(occupied, p.a, p.a_row, rows, K);
        if (finds) p.occupied = occupied;
        found = k;
        multiply_strip(p, rows, smaller(strip<T>, end - j));
      }
    }
}

}  // namespace thalweg::THALWEG_ISA

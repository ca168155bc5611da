// C = A B out of tiles (tile.hpp). B is read in place: its rows are padded, 64-byte aligned and never 2 KB apart, which makes
// packing needless, but for tiles that take their lines faster than these come (Tile::packs; docs/speed.md).
#pragma once

#include "kernels/table.hpp"
#include "kernels/tile.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// A row of tiles: rows [i, i + rows) of C and `vectors` vectors of columns. The first tile fetches for all.
template <class T>
void multiply_row(const Product<T>& p, Index i, Index rows, Index vectors) {
  constexpr Index most = Tile<T>::vectors;
  const Sum reading = p.packs ? Sum::packing : p.next_b ? Sum::fetching : Sum::whole;
  const Sum first = p.terms ? Sum::some : reading, others = p.terms ? first : Sum::whole;
  tile_of<T>(rows, vectors < most ? vectors : most, first)(p, i, 0);
  if (vectors <= most) return;
  Product<T> rest = p;
  rest.ahead = 0;
  rest.ahead_step = p.a_k;
  rest.next_b = nullptr;
  for (Index v = most; v < vectors; v += most)
    tile_of<T>(rows, vectors - v < most ? vectors - v : most, others)(rest, i, v * Vec<T>::lanes);
}

// A product whose tile at row i finds A packed, or packs it.
template <class T>
Product<T> from_packed(const Product<T>& p, Index i, Index rows) {
  Product<T> q = p;
  q.packed = p.packed + i * p.K;
  if (p.packs) return q;
  q.a = q.packed - i;
  q.a_k = q.ahead_step = rows;
  q.ahead = 0;
  return q;
}

// C = A B for all rows and the columns [0, columns), rounded up to whole vectors. Rows are dealt evenly: 64 = 9 x 6 + 2 x 5,
// not 10 x 6 + 4. Row after row of tiles: A is read once. p.next_b is used up: a copy of p, whose fields have just been
// written, would wait for their stores.
template <class T>
void multiply(Product<T>& p, Index rows, Index columns) {
  static_assert(rows_with_zeros <= Tile<T>::rows);
  constexpr Index line = 64 / sizeof(T);
  const Index most = p.zeros == Zeros::left_out ? rows_with_zeros : Tile<T>::rows;
  const Index tiles = (rows + most - 1) / most, vectors = (columns + Vec<T>::lanes - 1) / Vec<T>::lanes;
  if (tiles == 0) return;
  const Index small = rows / tiles, large = rows % tiles;  // `large` tiles have one row more
  for (Index t = 0, i = 0; t < tiles; ++t) {
    const Index of_tile = small + (t < large);
    Terms terms;
    p.terms = nullptr;
    if (p.zeros == Zeros::left_out) {
      terms.find(p.occupied, i, of_tile, p.K);
      if (8 * terms.count < 7 * p.K) p.terms = terms.words;
    }
    if (p.packed) multiply_row(from_packed(p, i, of_tile), i, of_tile, vectors);
    else multiply_row(p, i, of_tile, vectors);
    i += of_tile;
    if (p.next_b) p.next_b = (t + 1) * line < columns ? p.next_b + line : nullptr;
  }
}

}  // namespace thalweg::THALWEG_ISA

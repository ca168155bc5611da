// One micro-kernel for the three products of a dense layer: C = A B with A(i, k) = a[i * a_row + k * a_k].
//
//   forward   Y  = X W      A = X  (a_k = 1)        B = W
//   dX        dX^T = W dZ^T A = W  (a_k = 1)        B = dZ^T
//   dW        dW = X^T dZ   A = X  (a_row = 1)      B = dZ
//
// Every element of C is one chain of FMAs in rising k, from zero or from what is in C, so its bits depend on no tile and
// no ISA with fma.
// B is read in place: its rows are padded, 64-byte aligned and never 2 KB apart, which makes packing needless, but for
// tiles that take their lines faster than these come (Tile::packs; docs/speed.md).
#pragma once

#include "kernels/rules.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// Columns of B that are multiplied at a time: those of a tile, where B is packed.
template <class T>
constexpr Index strip = Tile<T>::packs ? Tile<T>::vectors * Vec<T>::lanes : panel_columns;

// Blocks of C's shape that are wanted right after the product: their lines are fetched meanwhile, a row of a tile at a
// time, since a burst of fetches would stall the product.
template <class T>
struct Soon {
  struct Block {
    const T* at;
    Index ld;
  } block[1 + max_slots];
  int blocks = 0;
  void add(const T* at, Index ld) { block[blocks++] = {at, ld}; }
};

// Where tiles pack, there is no room for them in L1.
template <class T>
inline void fetch_soon(const T* p) {
  if constexpr (Tile<T>::packs) prefetch_l2(p);
  else prefetch(p);
}

template <class T>
struct Product {
  T* c;
  Index c_ld;
  const T* a;
  Index a_row, a_k;
  const T* b;
  Index b_ld, b_strip = strip<T>;  // from one strip of columns to the next
  Index K;
  Index ahead = 0, ahead_step = 0;  // what is fetched meanwhile, from A(i, k) of a tile's first row on, and for each k
  const T* next_b = nullptr;        // B of the next product, fetched into L2 by the first tiles, a line of columns each
  Index next_ld = 0;
  T* room = nullptr;    // where A may be packed: tile after tile, and in a tile k after k
  T* packed = nullptr;  // where it is, or with `packs` is put first
  bool packs = false;
  Soon<T> soon;
  bool carry = false;       // chains begin with what is in C, not with zero
  const T* bias = nullptr;  // bias[j] is added last
  T* fault = nullptr;       // fault[i] = 0, or NaN where C(i, 0) is not finite
  bool relu = false;
  const Sgd<T>* rule = nullptr;  // updates what is in C, with the product as its gradient
};

// A = so many rows of a matrix. Meanwhile come those of the next tile, where there is one: they lie behind this tile's.
template <class T>
inline void take_rows(Product<T>& p, const T* a, Index ld, Index rows) {
  const bool more = rows > Tile<T>::rows;
  p.a = a;
  p.a_row = ld;
  p.a_k = 1;
  p.ahead = more ? Tile<T>::rows * ld : 0;
  p.ahead_step = more ? Tile<T>::rows : 0;
}

// A = columns of a matrix. Meanwhile comes the next line of each row: rows lie too far apart for the hardware to foresee.
template <class T>
inline void take_columns(Product<T>& p, const T* a, Index ld) {
  p.a = a;
  p.a_row = 1;
  p.a_k = p.ahead_step = ld;
  p.ahead = 64 / sizeof(T);
}

// acc(i, j) += sum over k of A(i, k) B(k, j), in rising k; a and b, at k.begin, go on to k.end.
template <bool fetches_b, class T, int rows, int vectors>
inline void accumulate(Vec<T> (&acc)[rows][vectors], const Product<T>& p, const T*& a, const T*& b, Range ks) {
  const T* ahead = a + p.ahead;
  for (Index k = ks.begin; k < ks.end; ++k, a += p.a_k, b += p.b_ld, ahead += p.ahead_step) {
    prefetch(ahead);
    if constexpr (fetches_b) prefetch_l2(p.next_b + k * p.next_ld);
    Vec<T> b_k[vectors];
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) b_k[j] = load(b + j * Vec<T>::lanes);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Vec<T> a_ik = set(a[i * p.a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < vectors; ++j) acc[i][j] = fma(a_ik, b_k[j], acc[i][j]);
    }
  }
}

// The whole sum, with the rows of what is wanted soon fetched at even distances.
template <bool fetches_b, class T, int rows, int vectors>
inline void accumulate(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Index i0, Index j0) {
  const T *a = p.a + i0 * p.a_row, *b = p.b + j0;
  if (p.soon.blocks == 0) return accumulate<fetches_b>(acc, p, a, b, {0, p.K});
  for (int i = 0; i < rows; ++i) {
    for (int s = 0; s < p.soon.blocks; ++s) {
      const T* row = p.soon.block[s].at + (i0 + i) * p.soon.block[s].ld + j0;
      for (int j = 0; j < vectors; ++j) fetch_soon(row + j * Vec<T>::lanes);
    }
    accumulate<fetches_b>(acc, p, a, b, {p.K * i / rows, p.K * (i + 1) / rows});
  }
}

// Bias, fault and relu of a finished tile. relu keeps NaN: max gives its second argument there.
template <class T, int rows, int vectors>
inline void finish(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Index i0, Index j0) {
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j)
      if (p.bias) acc[i][j] = acc[i][j] + load(p.bias + j0 + j * Vec<T>::lanes);
    if (p.fault && j0 == 0) store_first(p.fault + i0 + i, acc[i][0] - acc[i][0], 1);
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j)
      if (p.relu) acc[i][j] = max(set(T(0)), acc[i][j]);
  }
}

// The rule for a tile of weights and their gradient.
template <class T, int rows, int vectors>
inline void update(const Vec<T> (&g)[rows][vectors], const Sgd<T>& of_step, T* w, Index w_ld) {
  const Sgd<T> rule = of_step;
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      Vec<T> w_ij = load(w + i * w_ld + j * Vec<T>::lanes);
      rule(w_ij, g[i][j], nullptr);
      store(w + i * w_ld + j * Vec<T>::lanes, w_ij);
    }
}

// C(i0 .. i0 + rows, j0 .. j0 + vectors * lanes) of a product.
template <class T, int rows, int vectors, bool fetches_b>
void tile(const Product<T>& p, Index i0, Index j0) noexcept {
  T* c = p.c + i0 * p.c_ld + j0;
  Vec<T> acc[rows][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j)
      acc[i][j] = p.carry ? load(c + i * p.c_ld + j * Vec<T>::lanes) : set(T(0));
  accumulate<fetches_b>(acc, p, i0, j0);
  finish(acc, p, i0, j0);
  if (p.rule) return update(acc, *p.rule, c, p.c_ld);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(c + i * p.c_ld + j * Vec<T>::lanes, acc[i][j]);
}

// All tiles with 1..Tile::rows rows and 1..Tile::vectors vectors, of which the widest can fetch B of the next product.
template <class T>
using TileFunction = void (*)(const Product<T>&, Index, Index) noexcept;

template <class T, int rows, int vectors = Tile<T>::vectors>
TileFunction<T> tile_of(Index wanted_vectors, bool fetches_b) {
  if constexpr (vectors > 1)
    if (wanted_vectors < vectors) return tile_of<T, rows, vectors - 1>(wanted_vectors, fetches_b);
  if constexpr (vectors == Tile<T>::vectors)
    if (fetches_b) return tile<T, rows, vectors, true>;
  return tile<T, rows, vectors, false>;
}
template <class T, int rows = Tile<T>::rows>
TileFunction<T> tile_of(Index wanted_rows, Index wanted_vectors, bool fetches_b) {
  if constexpr (rows > 1)
    if (wanted_rows < rows) return tile_of<T, rows - 1>(wanted_rows, wanted_vectors, fetches_b);
  return tile_of<T, rows>(wanted_vectors, fetches_b);
}

// A row of tiles: rows [i, i + rows) of C and `vectors` vectors of columns. The first tile fetches for all.
template <class T>
void multiply_row(const Product<T>& p, Index i, Index rows, Index vectors) {
  constexpr Index most = Tile<T>::vectors;
  tile_of<T>(rows, vectors < most ? vectors : most, p.next_b)(p, i, 0);
  if (vectors <= most) return;
  Product<T> rest = p;
  rest.ahead = 0;
  rest.ahead_step = p.a_k;
  for (Index v = most; v < vectors; v += most)
    tile_of<T>(rows, vectors - v < most ? vectors - v : most, false)(rest, i, v * Vec<T>::lanes);
}

// to = A(i, k) of one tile, k after k. What whole vectors write beyond the end of a row, the next row writes over.
template <class T>
void pack_tile(T* to, const T* a, Index ld, Index K, Index rows) {
  for (Index k = 0; k + 1 < K; ++k, to += rows, a += ld) {
    prefetch_l2(a + 64 / sizeof(T));
    for (Index i = 0; i < rows; i += Vec<T>::lanes) store(to + i, load(a + i));
  }
  for (Index i = 0; i < rows; ++i) to[i] = a[i];
}

// A product whose tile at row i finds A packed.
template <class T>
Product<T> from_packed(const Product<T>& p, Index i, Index rows) {
  T* tile = p.packed + i * p.K;
  if (p.packs) pack_tile(tile, p.a + i, p.a_k, p.K, rows);
  Product<T> q = p;
  q.a = tile - i;
  q.a_k = q.ahead_step = rows;
  q.ahead = 0;
  return q;
}

// C = A B for all rows and the columns [0, columns), rounded up to whole vectors. Rows are dealt evenly: 64 = 9 x 6 + 2 x 5,
// not 10 x 6 + 4. Row after row of tiles: A is read once. p.next_b is used up: a copy of p, whose fields have just been
// written, would wait for their stores.
template <class T>
void multiply(Product<T>& p, Index rows, Index columns) {
  constexpr Index line = 64 / sizeof(T);
  const Index tiles = (rows + Tile<T>::rows - 1) / Tile<T>::rows, vectors = (columns + Vec<T>::lanes - 1) / Vec<T>::lanes;
  if (tiles == 0) return;
  const Index small = rows / tiles, large = rows % tiles;  // `large` tiles have one row more
  for (Index t = 0, i = 0; t < tiles; ++t) {
    const Index of_tile = small + (t < large);
    if (p.packed) multiply_row(from_packed(p, i, of_tile), i, of_tile, vectors);
    else multiply_row(p, i, of_tile, vectors);
    i += of_tile;
    if (p.next_b) p.next_b = (t + 1) * line < columns ? p.next_b + line : nullptr;
  }
}

}  // namespace thalweg::THALWEG_ISA

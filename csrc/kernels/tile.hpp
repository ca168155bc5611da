// One micro-kernel for the three products of a dense layer: C = A B with A(i, k) = a[i * a_row + k * a_k].
//
//   forward   Y  = X W      A = X  (a_k = 1)        B = W
//   dX        dX^T = W dZ^T A = W  (a_k = 1)        B = dZ^T
//   dW        dW = X^T dZ   A = X  (a_row = 1)      B = dZ
//
// Every element of C is one chain of FMAs in rising k, from zero or from what is in C, so its bits depend on no tile and
// no ISA with fma; nor on terms of zeros that are left out (zeros.hpp).
#pragma once

#include "kernels/rules.hpp"
#include "kernels/table.hpp"
#include "kernels/zeros.hpp"
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
[[gnu::always_inline]] inline void fetch_soon(const T* p) {
  if constexpr (Tile<T>::packs) prefetch_l2(p);
  else prefetch(p);
}

// Rows of a tile that leaves out zeros: fewer rows have more of them in common.
constexpr Index rows_with_zeros = 4;

// What becomes of the terms of a tile whose A is zero in all rows. left_out_if_finite: what B holds has yet to be looked at.
enum class Zeros { kept, left_out_if_finite, left_out };

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
  T* packed = nullptr;  // where it is, or with `packs` is put by the way
  bool packs = false;
  Soon<T> soon;
  Zeros zeros = Zeros::kept;
  const std::uint8_t* occupied = nullptr;  // where A is not zero, if that is known already: zeros.hpp
  const std::uint64_t* terms = nullptr;    // of the row of tiles in hand those that are not left out; null: all count
  bool carry = false;                      // chains begin with what is in C, not with zero
  const T* bias = nullptr;                 // bias[j] is added last
  T* fault = nullptr;                      // fault[i] = 0, or NaN where C(i, 0) is not finite
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

// acc(i, j) += A(i, k) B(k, j) for one k; a and b point to it.
template <class T, int rows, int vectors>
[[gnu::always_inline]] inline void add_term(Vec<T> (&acc)[rows][vectors], const T* a, Index a_row, const T* b) {
  Vec<T> b_k[vectors];
#pragma GCC unroll 8
  for (int j = 0; j < vectors; ++j) b_k[j] = load(b + j * Vec<T>::lanes);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
    const Vec<T> a_ik = set(a[i * a_row]);
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) acc[i][j] = fma(a_ik, b_k[j], acc[i][j]);
  }
}

// Where a tile's sum has come to.
template <class T>
struct Walk {
  const T *a, *b, *next_b;
  T* packed;
};

// The ways of a tile's sum: whole; whole, with B of the next product fetched, or with A packed; without the terms that are
// left out.
enum class Sum { whole, fetching, packing, some };

// to = A(i, k) of a tile for one k. What whole vectors write beyond its rows, the next k writes over.
template <int rows, class T>
[[gnu::always_inline]] inline void pack_term(T* to, const T* a) {
#pragma GCC unroll 8
  for (int i = 0; i < rows; i += Vec<T>::lanes) store(to + i, load(a + i));
}

// The sum over the next n terms. Counted down, since a tile's loop has no register to spare for a bound.
template <Sum sum, class T, int rows, int vectors>
[[gnu::always_inline]] inline void accumulate(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Walk<T>& at, Index n) {
  constexpr int soon = 16;  // so many k ahead A comes into L1 where its lines are taken one by one
  const T* ahead = at.a + p.ahead;
  for (; n > 0; --n, at.a += p.a_k, at.b += p.b_ld, ahead += p.ahead_step) {
    prefetch(ahead);
    if constexpr (sum == Sum::fetching) {
      prefetch_l2(at.next_b);
      at.next_b += p.next_ld;
    }
    if constexpr (sum == Sum::packing) {
      prefetch(at.a + soon * p.a_k);
      pack_term<rows>(at.packed, at.a);
      at.packed += rows;
    }
    add_term(acc, at.a, p.a_row, at.b);
  }
}

// The last term of a sum that packs: nothing beyond its rows is read.
template <class T, int rows, int vectors>
[[gnu::always_inline]] inline void accumulate_last(Vec<T> (&acc)[rows][vectors], const Product<T>& p, const Walk<T>& at) {
  for (int i = 0; i < rows; ++i) at.packed[i] = at.a[i];
  add_term(acc, at.a, p.a_row, at.b);
}

// Fetches rows of a tile of what is wanted soon.
template <int vectors, class T>
[[gnu::always_inline]] inline void fetch_rows(const Product<T>& p, Index j0, Range rows) {
  for (Index i = rows.begin; i < rows.end; ++i)
    for (int s = 0; s < p.soon.blocks; ++s)
      for (int j = 0; j < vectors; ++j)
        fetch_soon(p.soon.block[s].at + i * p.soon.block[s].ld + j0 + j * Vec<T>::lanes);
}

// The whole sum without the terms that are left out. What lies ahead of a term is no longer quite what the next tile wants of
// A, but near it.
template <class T, int rows, int vectors>
[[gnu::always_inline]] inline void accumulate_some(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Index i0, Index j0) {
  const T *a = p.a + i0 * p.a_row, *b = p.b + j0;
  const Index words = (p.K + 63) / 64;
  for (Index w = 0; w < words; ++w) {
    fetch_rows<vectors>(p, j0, {i0 + rows * w / words, i0 + rows * (w + 1) / words});
    for (std::uint64_t left = p.terms[w]; left; left &= left - 1) {
      const Index k = 64 * w + __builtin_ctzll(left);
      prefetch(a + p.ahead + k * p.ahead_step);
      if (p.next_b) prefetch_l2(p.next_b + k * p.next_ld);
      add_term(acc, a + k * p.a_k, p.a_row, b + k * p.b_ld);
    }
  }
}

// The whole sum, with the rows of what is wanted soon fetched at even distances.
template <Sum sum, class T, int rows, int vectors>
[[gnu::always_inline]] inline void accumulate(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Index i0, Index j0) {
  constexpr bool packs = sum == Sum::packing;
  Walk<T> at{p.a + i0 * p.a_row, p.b + j0, p.next_b, p.packed};
  const Index K = packs ? p.K - 1 : p.K;
  if (p.soon.blocks == 0) accumulate<sum>(acc, p, at, K);
  else
    for (int i = 0; i < rows; ++i) {
      fetch_rows<vectors>(p, j0, {i0 + i, i0 + i + 1});
      accumulate<sum>(acc, p, at, K * (i + 1) / rows - K * i / rows);
    }
  if constexpr (packs) accumulate_last(acc, p, at);
}

// Bias, fault and relu of a finished tile. relu keeps NaN: max gives its second argument there.
template <class T, int rows, int vectors>
inline void finish(Vec<T> (&acc)[rows][vectors], const Product<T>& p, Index i0, Index j0) {
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) {
      acc[i][j] = finished(acc[i][j]);
      if (p.bias) acc[i][j] = acc[i][j] + load(p.bias + j0 + j * Vec<T>::lanes);
    }
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
template <class T, int rows, int vectors, Sum sum>
void tile(const Product<T>& p, Index i0, Index j0) noexcept {
  T* c = p.c + i0 * p.c_ld + j0;
  Vec<T> acc[rows][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j)
      acc[i][j] = p.carry ? load(c + i * p.c_ld + j * Vec<T>::lanes) : set(T(0));
  if constexpr (sum == Sum::some) accumulate_some(acc, p, i0, j0);
  else accumulate<sum>(acc, p, i0, j0);
  finish(acc, p, i0, j0);
  if (p.rule) return update(acc, *p.rule, c, p.c_ld);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(c + i * p.c_ld + j * Vec<T>::lanes, acc[i][j]);
}

// All tiles with 1..Tile::rows rows and 1..Tile::vectors vectors, of which the widest can fetch B of the next product or pack.
template <class T>
using TileFunction = void (*)(const Product<T>&, Index, Index) noexcept;

template <class T, int rows, int vectors = Tile<T>::vectors>
TileFunction<T> tile_of(Index wanted_vectors, Sum sum) {
  if constexpr (vectors > 1)
    if (wanted_vectors < vectors) return tile_of<T, rows, vectors - 1>(wanted_vectors, sum);
  if constexpr (vectors == Tile<T>::vectors) {
    if (sum == Sum::fetching) return tile<T, rows, vectors, Sum::fetching>;
    if constexpr (Tile<T>::packs)
      if (sum == Sum::packing) return tile<T, rows, vectors, Sum::packing>;
  }
  if constexpr (rows <= rows_with_zeros)
    if (sum == Sum::some) return tile<T, rows, vectors, Sum::some>;
  return tile<T, rows, vectors, Sum::whole>;
}
template <class T, int rows = Tile<T>::rows>
TileFunction<T> tile_of(Index wanted_rows, Index wanted_vectors, Sum sum) {
  if constexpr (rows > 1)
    if (wanted_rows < rows) return tile_of<T, rows - 1>(wanted_rows, wanted_vectors, sum);
  return tile_of<T, rows>(wanted_vectors, sum);
}

}  // namespace thalweg::THALWEG_ISA

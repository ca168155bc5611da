// C = A B of up to 4 columns: these would fill vectors with pads. Rows of C fill them instead, with the chains, and so the
// bits, of gemm.hpp.
#pragma once

#include "kernels/gemm.hpp"
#include "kernels/rows.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

template <class T>
constexpr Index few_columns = Vec<T>::lanes < 4 ? Vec<T>::lanes : 4;

// Calls body with the number of columns as a type.
template <int n>
struct Columns {
  static constexpr int count = n;
};
template <class Body>
void with_columns(Index columns, Body&& body) {
  switch (columns) {
    case 1: return body(Columns<1>{});
    case 2: return body(Columns<2>{});
    case 3: return body(Columns<3>{});
    default: return body(Columns<4>{});
  }
}

// rows[l] = C(l, 0), C(l, 1), ... and zeros, given C's columns.
template <class T, int columns>
inline void turn_columns(Vec<T> (&rows)[Vec<T>::lanes], const Vec<T> (&c)[columns]) {
#pragma GCC unroll 16
  for (int l = 0; l < Vec<T>::lanes; ++l) rows[l] = l < columns ? c[l < columns ? l : 0] : set(T(0));
  transpose(rows);
}

// `vectors` vectors of rows from i on, where A's rows are neighbours (a_row = 1), and C's rows have pads.
template <int vectors, int columns, class T>
inline void few_columns_down(const Product<T>& p, Index i) {
  constexpr Index lanes = Vec<T>::lanes;
  Vec<T> acc[vectors][columns];
#pragma GCC unroll 8
  for (auto& of : acc)
    for (Vec<T>& v : of) v = set(T(0));
  const T *a = p.a + i, *b = p.b;
  for (Index k = 0; k < p.K; ++k, a += p.a_k, b += p.b_ld)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) acc[v][j] = fma(load(a + v * lanes), set(b[j]), acc[v][j]);
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    for (Vec<T>& sum : acc[v]) sum = finished(sum);
    Vec<T> rows[lanes];
    turn_columns<T>(rows, acc[v]);
#pragma GCC unroll 16
    for (Index l = 0; l < lanes; ++l)
      for (Index j = 0; j < padding; j += lanes) store(p.c + (i + v * lanes + l) * p.c_ld + j, j == 0 ? rows[l] : set(T(0)));
  }
}

// All rows, a vector of them at least; the last begin early enough to be whole.
template <class T>
void multiply_down(const Product<T>& p, Index rows, Index columns) {
  constexpr Index lanes = Vec<T>::lanes;
  with_columns(columns, [&](auto few) {
    constexpr int count = few.count, vectors = count > 2 ? 3 : 4;
    Index i = 0;
    for (; i + vectors * lanes <= rows; i += vectors * lanes) few_columns_down<vectors, count>(p, i);
    for (; i < rows; i += lanes) few_columns_down<1, count>(p, smaller(i, rows - lanes));
  });
}

// acc += A(i .. i + rows, k + done .. k + lanes) B(k + done .. k + lanes, columns), for which A is turned; rows that are
// not there are zero.
template <int columns, class T>
inline void accumulate_turned(Vec<T> (&acc)[columns], const Product<T>& p, Index i, Index rows, Index k, Index done) {
  constexpr Index lanes = Vec<T>::lanes;
  Vec<T> a[lanes];
  load_turned(a, p.a + i * p.a_row + k, p.a_row, rows);
#pragma GCC unroll 16
  for (Index l = 0; l < lanes; ++l)
    if (l >= done)
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) acc[j] = fma(a[l], set(p.b[(k + l) * p.b_ld + j]), acc[j]);
}

// All rows where A's rows lie apart (a_k = 1), a vector of them at a time, and of k, a vector of which there are at least.
template <class T>
void multiply_across(const Product<T>& p, Index rows, Index columns) {
  constexpr Index lanes = Vec<T>::lanes;
  with_columns(columns, [&](auto few) {
    for (Index i = 0; i < rows; i += lanes) {
      const Index here = smaller(lanes, rows - i);
      Vec<T> acc[few.count];
      for (Vec<T>& v : acc) v = set(T(0));
      for (Index k = 0; k < p.K; k += lanes) {
        const Index begin = smaller(k, p.K - lanes);
        accumulate_turned(acc, p, i, here, begin, k - begin);
      }
      Vec<T> c[lanes];
      turn_columns<T>(c, acc);
      for (Index l = 0; l < here; ++l) {
        Vec<T> row[1][1] = {{c[l]}};
        finish(row, p, i + l, 0);
        store(p.c + (i + l) * p.c_ld, row[0][0]);
      }
    }
  });
}

}  // namespace thalweg::THALWEG_ISA

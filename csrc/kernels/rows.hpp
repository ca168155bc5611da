// Sums and maxima within a row in dot form: 16 (float32) or 8 (float64) virtual lanes, each a chain over the row, and
// one fixed tree at the end. The lanes are the same on every ISA, so the bits are too. And dot products of rows.
#pragma once

#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

inline Index smaller(Index a, Index b) { return a < b ? a : b; }
inline Index whole_pads(Index columns) { return (columns + padding - 1) / padding * padding; }

template <class T>
struct VirtualLanes {
  static constexpr int lanes = 64 / sizeof(T);
  static constexpr int vectors = lanes / Vec<T>::lanes;
  Vec<T> part[vectors];
};

template <class T>
inline VirtualLanes<T> virtual_lanes(T x) {
  VirtualLanes<T> all;
  for (Vec<T>& part : all.part) part = set(x);
  return all;
}

// Lane i meets lane i + lanes/2, then lanes/4, ...: first whole vectors,
template <class T>
inline Vec<T> first_half_of_tree(VirtualLanes<T> v) {
  for (int half = VirtualLanes<T>::vectors / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v.part[i] = v.part[i] + v.part[i + half];
  return v.part[0];
}
// then inside one.
template <class T>
inline T sum_tree(VirtualLanes<T> v) {
  return sum_tree(first_half_of_tree(v));
}

// Lane i of the result is sum_tree(rows[i]), bit for bit: all trees at once. The rows are used up.
template <class T, int distance = Vec<T>::lanes / 2>
inline Vec<T> sum_trees(Vec<T> (&rows)[Vec<T>::lanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < distance; ++i) {
    exchange_blocks<distance>(rows[i], rows[i + distance], LanesOf<T>{});
    rows[i] = rows[i] + rows[i + distance];
  }
  if constexpr (distance > 1) return sum_trees<T, distance / 2>(rows);
  else return rows[0];
}

// v[c] lane r = from_rc, for a vector of columns c, and of rows r; those from `rows` on are zero.
template <class T>
inline void load_turned(Vec<T> (&v)[Vec<T>::lanes], const T* from, Index ld, Index rows) {
#pragma GCC unroll 16
  for (Index r = 0; r < Vec<T>::lanes; ++r) v[r] = r < rows ? load(from + r * ld) : set(T(0));
  transpose(v);
}

// Dot products of x_c with the rows w_rc, w_rc + w_ld, ..., a vector of them, in dot form for each chunk of 128 columns,
// chunk sums added in order. Pads are zero. Of fewer rows the last stands for those that are not there. `head`: there
// are as many rows, and no more columns than virtual lanes, so that no loop is left.
constexpr Index dot_chunk = 128;
template <bool head, class T>
inline Vec<T> dots_by_chunks(const T* x_c, const T* w_rc, Index w_ld, Index rows, Index columns) {
  constexpr int lanes = Vec<T>::lanes, step = VirtualLanes<T>::lanes;
  Vec<T> total = set(T(0));
  for (Index chunk = 0; chunk < (head ? 1 : columns); chunk += dot_chunk) {
    VirtualLanes<T> sum[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; ++l) sum[l] = virtual_lanes(T(0));
    const Index end = head ? step : smaller(chunk + dot_chunk, whole_pads(columns));
    for (Index c = chunk; c < end; c += step)
#pragma GCC unroll 16
      for (int v = 0; v < VirtualLanes<T>::vectors; ++v) {
        const Vec<T> x = load(x_c + c + v * lanes);
#pragma GCC unroll 16
        for (int l = 0; l < lanes; ++l)
          sum[l].part[v] = fma(x, load(w_rc + (head ? l : smaller(l, rows - 1)) * w_ld + c + v * lanes), sum[l].part[v]);
      }
    Vec<T> sums[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; ++l) sums[l] = first_half_of_tree(sum[l]);
    total = total + sum_trees(sums);
  }
  return total;
}
template <class T>
inline Vec<T> dots_by_chunks(const T* x_c, const T* w_rc, Index w_ld, Index rows, Index columns) {
  const bool head = rows == Vec<T>::lanes && columns <= VirtualLanes<T>::lanes;
  return head ? dots_by_chunks<true>(x_c, w_rc, w_ld, rows, columns) : dots_by_chunks<false>(x_c, w_rc, w_ld, rows, columns);
}

// v with zero in the lanes from n on.
template <class T, int... I>
inline Vec<T> keep_first(Vec<T> v, Index n, Lanes<I...>) {
  return select(Vec<T>{typename Vec<T>::Reg{T(I)...}} < set(T(n)), v, set(T(0)));
}
template <class T>
inline Vec<T> keep_first(Vec<T> v, Index n) {
  return n >= Vec<T>::lanes ? v : keep_first(v, n, LanesOf<T>{});
}

// 1 at column `column` and 0 elsewhere, of the vector that begins at column o; NaN everywhere for a NaN.
template <class T, int... I>
inline Vec<T> one_hot(T column, Index o, Lanes<I...>) {
  const Vec<T> lane{typename Vec<T>::Reg{T(I)...}}, wanted = set(column - static_cast<T>(o));
  return select(lane == wanted, set(T(1)), set(T(0))) + (wanted - wanted);
}
template <class T>
inline Vec<T> one_hot(T column, Index o) {
  return one_hot(column, o, LanesOf<T>{});
}

// Sum over the columns [0, columns) of value(o), the vector that begins at column o; beyond the end it is not counted.
template <class T, class Value>
inline T row_sum(Index columns, Value&& value) {
  VirtualLanes<T> sum = virtual_lanes(T(0));
  for (Index o = 0; o < columns; o += VirtualLanes<T>::lanes)
    for (int i = 0; i < VirtualLanes<T>::vectors; ++i) {
      const Index at = o + i * Vec<T>::lanes;
      if (at < columns) sum.part[i] = sum.part[i] + keep_first(value(at), columns - at);
    }
  return sum_tree(sum);
}

// The largest of x[0..columns), -infinity for none. NaN is passed over.
template <class T>
inline T row_max(const T* x, Index columns) {
  Vec<T> highest = set(T(-INFINITY));
  for (Index o = 0; o < columns; o += Vec<T>::lanes)
    highest = max(load_first(x + o, columns - o, T(-INFINITY)), highest);
  T most = highest.reg[0];
  for (int i = 1; i < Vec<T>::lanes; ++i) most = highest.reg[i] > most ? highest.reg[i] : most;
  return most;
}

}  // namespace thalweg::THALWEG_ISA

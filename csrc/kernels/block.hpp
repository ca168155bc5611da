// Exact-block SGD: see block_arguments.hpp.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/gemm.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// part_kl += x_(i + k) . x_(j + l), vector v of their virtual lanes.
template <class T>
void multiply_rows(Vec<T> (&part)[gram_rows][gram_rows], const Gram& g, const T* x_i, const T* x_j) {
  for (Index c = 0; c < whole_pads(g.inputs); c += VirtualLanes<T>::lanes) {
    Vec<T> a[gram_rows];
#pragma GCC unroll 4
    for (int k = 0; k < gram_rows; ++k) a[k] = load(x_i + k * g.x_ld + c);
#pragma GCC unroll 4
    for (int l = 0; l < gram_rows; ++l) {
      const Vec<T> b = load(x_j + l * g.x_ld + c);
#pragma GCC unroll 4
      for (int k = 0; k < gram_rows; ++k) part[k][l] = fma(a[k], b, part[k][l]);
    }
  }
}

// gram for gram_rows rows i and as many rows j, in dot form.
template <class T>
void gram_block(const Gram& g, Index i, Index j) {
  constexpr Index lanes = Vec<T>::lanes, sums = gram_rows * gram_rows;
  VirtualLanes<T> sum[sums];
  for (int v = 0; v < VirtualLanes<T>::vectors; ++v) {
    Vec<T> part[gram_rows][gram_rows];
    for (auto& row : part)
      for (Vec<T>& p : row) p = set(T(0));
    multiply_rows(part, g, at<T>(g.x, g.x_ld, i, v * lanes), at<T>(g.x, g.x_ld, j, v * lanes));
    for (int s = 0; s < sums; ++s) sum[s].part[v] = part[s / gram_rows][s % gram_rows];
  }
  T products[sums];
  for (Index s = 0; s < sums; s += lanes) {
    Vec<T> rows[lanes];
    for (Index r = 0; r < lanes; ++r) rows[r] = first_half_of_tree(sum[s + r]);
    store(products + s, sum_trees(rows));
  }
  for (int s = 0; s < sums; ++s)
    *at<T>(g.gram, g.gram_ld, i + s / gram_rows, j + s % gram_rows) = products[s] + static_cast<T>(g.offset);
}

template <class T>
void gram(const Gram& g) noexcept {
  for (Index i = g.rows.begin; i < g.rows.end; i += gram_rows)
    for (Index j = 0; j <= i; j += gram_rows) gram_block<T>(g, i, j);
}

// A chain that goes on from the start: the product carries on what is in C.
template <class T>
void block_forward(const BlockForward& f) noexcept {
  const Index columns = f.columns.end - f.columns.begin;
  T* y = at<T>(f.y, f.y_ld, 0, f.columns.begin);
  Product<T> p{};
  p.c = f.z ? at<T>(f.z, f.y_ld, 0, f.columns.begin) : y;
  p.c_ld = f.y_ld;
  each_vector<T>({0, f.batch}, {0, columns}, [&](Index b, Index o) {
    store(p.c + b * p.c_ld + o, load(at<T>(f.start, f.start_ld, f.first + b, f.columns.begin + o)));
  });
  take_rows(p, at<T>(f.gram, f.gram_ld, f.first, 0), f.gram_ld, f.batch);
  p.b = at<T>(f.kept, f.kept_ld, 0, f.columns.begin);
  p.b_ld = f.kept_ld;
  p.K = f.first;
  p.carry = true;
  p.fault = f.columns.begin == 0 ? static_cast<T*>(f.fault) : nullptr;
  p.relu = f.activation == Activation::relu;
  multiply(p, f.batch, columns);
  if (f.activation != Activation::identity && !p.relu)
    activate_block<T>(f.activation, y, f.y_ld, p.c, p.c_ld, f.batch, columns);
}

template <class T>
void keep_step(const KeepStep& k) noexcept {
  const Vec<T> rate = set(static_cast<T>(-k.lr));
  each_vector<T>({0, k.batch}, k.columns, [&](Index b, Index o) {
    store(at<T>(k.kept, k.kept_ld, k.first + b, o), rate * load(at<T>(k.dz, k.dz_ld, b, o)));
  });
}

}  // namespace thalweg::THALWEG_ISA

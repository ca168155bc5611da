// Exact-block SGD: see block_arguments.hpp.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/gemm.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// gram for 2 rows i and gram_rows rows j, in dot form: 8 sums at a time keep the FMAs busy.
template <class T>
void gram_block(const Gram& g, Index i, Index j) {
  VirtualLanes<T> sum[2][gram_rows];
  for (int v = 0; v < VirtualLanes<T>::vectors; ++v) {
    Vec<T> part[2][gram_rows];
    for (auto& row : part)
      for (Vec<T>& p : row) p = set(T(0));
    const T* x_i = at<T>(g.x, g.x_ld, i, v * Vec<T>::lanes);
    const T* x_j = at<T>(g.x, g.x_ld, j, v * Vec<T>::lanes);
    for (Index c = 0; c < whole_pads(g.inputs); c += VirtualLanes<T>::lanes)
#pragma GCC unroll 4
      for (int l = 0; l < gram_rows; ++l) {
        const Vec<T> b = load(x_j + l * g.x_ld + c);
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) part[k][l] = fma(load(x_i + k * g.x_ld + c), b, part[k][l]);
      }
    for (int k = 0; k < 2; ++k)
      for (int l = 0; l < gram_rows; ++l) sum[k][l].part[v] = part[k][l];
  }
  for (int k = 0; k < 2; ++k)
    for (int l = 0; l < gram_rows; ++l) *at<T>(g.gram, g.gram_ld, i + k, j + l) = sum_tree(sum[k][l]) + static_cast<T>(g.offset);
}

template <class T>
void gram(const Gram& g) noexcept {
  for (Index i = g.rows.begin; i < g.rows.end; i += 2)
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

// A dense layer of few units whose weights are turned, w_oi, for small steps of exact-block SGD: along its inputs it fills
// vectors, and no sum waits for the one before, where W's few columns are one chain. dX: input_gradient.hpp.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/rows.hpp"
#include "kernels/sink.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// z_bo in dot form, by chunks; the bias is added last.
template <class T>
void forward_turned(const DenseForward& f) {
  constexpr Index lanes = Vec<T>::lanes;
  T* z_bo = static_cast<T*>(f.z ? f.z : f.y);
  for (Index b = f.rows.begin; b < f.rows.end; ++b)
    for (Index o = f.columns.begin; o < f.columns.end; o += lanes) {
      const Index units = smaller(lanes, f.columns.end - o);
      const Vec<T> dots = dots_by_chunks(at<T>(f.x, f.x_ld, b, 0), at<T>(f.w, f.w_ld, o, 0), f.w_ld, units, f.inputs);
      const Vec<T> bias = f.bias ? load(static_cast<const T*>(f.bias) + o) : set(T(0));
      store(z_bo + b * f.y_ld + o, keep_first(dots, units) + bias);
    }
  if (f.activation == Activation::identity) return;
  const Index first = f.rows.begin * f.y_ld + f.columns.begin;
  activate_block<T>(f.activation, static_cast<T*>(f.y) + first, f.y_ld, z_bo + first, f.y_ld, f.rows.end - f.rows.begin,
                    f.columns.end - f.columns.begin);
}

// w_oi -= lr dz_o x_i for all units and `vectors` vectors of inputs. Pads stay zero.
template <int vectors, class T>
void update_turned(const DenseWeightGradient& g, T minus_lr, Index i) {
  constexpr Index lanes = Vec<T>::lanes;
  const T *x_i = static_cast<const T*>(g.x) + i, *dz_o = static_cast<const T*>(g.dz);
  Vec<T> x[vectors];
#pragma GCC unroll 8
  for (int j = 0; j < vectors; ++j) x[j] = keep_first(load(x_i + j * lanes), g.inputs.end - i - j * lanes);
  T* w_oi = at<T>(g.parameter.w, g.parameter.ld, 0, i);
  for (Index o = 0; o < g.columns.end; ++o, w_oi += g.parameter.ld) {
    const Vec<T> step = set(minus_lr * dz_o[o]);
#pragma GCC unroll 8
    for (int j = 0; j < vectors; ++j) store(w_oi + j * lanes, fma(x[j], step, load(w_oi + j * lanes)));
  }
}

template <class T>
void weight_gradient_turned(const DenseWeightGradient& g) {
  constexpr int vectors = 4;
  constexpr Index strip = vectors * Vec<T>::lanes;
  const T minus_lr = static_cast<T>(-g.scalars[0]);
  Index i = g.inputs.begin;
  for (; i + strip <= g.inputs.end; i += strip) update_turned<vectors>(g, minus_lr, i);
  for (; i < g.inputs.end; i += Vec<T>::lanes) update_turned<1>(g, minus_lr, i);
  if (!g.bias) return;
  T* bias_o = at<T>(g.parameter.w, g.parameter.ld, g.parameter.bias_row, 0);
  for (Index o = 0; o < g.columns.end; o += Vec<T>::lanes)
    store(bias_o + o, fma(set(minus_lr), load(static_cast<const T*>(g.dz) + o), load(bias_o + o)));
}

}  // namespace thalweg::THALWEG_ISA

// Where gradients of values go: see Sink in arguments.hpp.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// Calls body(put): put(b, o, g) sends the vector g of a gradient, of row b from column o on, into the sink. That is copied:
// by reference its fields would be read again after every store.
template <class T, class Body>
void with_sink(const Sink& sink, Body&& body) {
  with_activation<T>(sink.saved ? sink.activation : Activation::identity, [&](auto act) {
    body([s = sink, act](Index b, Index o, Vec<T> g) {
      T* dx = static_cast<T*>(s.dx) + b * s.dx_ld + o;
      if (s.add) g = load(dx) + g;
      const Vec<T> saved = s.saved ? load(static_cast<const T*>(s.saved) + b * s.saved_ld + o) : set(T(0));
      store(dx, act.backward(g, saved));
    });
  });
}

// body(b, o) for all rows, and for every whole vector of the columns.
template <class T, class Body>
void each_vector(Range rows, Range columns, Body&& body) {
  for (Index b = rows.begin; b < rows.end; ++b)
    for (Index o = columns.begin; o < columns.end; o += Vec<T>::lanes) body(b, o);
}

template <class T>
const T* at(const void* matrix, Index ld, Index row, Index column) {
  return static_cast<const T*>(matrix) + row * ld + column;
}
template <class T>
T* at(void* matrix, Index ld, Index row, Index column) {
  return static_cast<T*>(matrix) + row * ld + column;
}

template <class T>
void pass_gradient(const PassGradient& p) noexcept {
  with_sink<T>(p.sink, [&](auto put) {
    each_vector<T>(p.rows, p.columns, [&](Index b, Index o) { put(b, o, load(at<T>(p.dy, p.dy_ld, b, o))); });
  });
}

template <class T>
void add(const Add& a) noexcept {
  each_vector<T>(a.rows, a.columns, [&](Index b, Index o) {
    store(at<T>(a.y, a.y_ld, b, o), load(at<T>(a.a, a.a_ld, b, o)) + load(at<T>(a.b, a.b_ld, b, o)));
  });
}

}  // namespace thalweg::THALWEG_ISA

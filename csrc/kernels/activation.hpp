// Activations in place, forward and backward side by side. backward(dy, saved) takes the output y, so that the input
// need not be kept, or where `of_input` says so (keeps_input in names.hpp) the input z: those have no inverse. Every
// activation passes NaN on, and has its limit at -infinity and infinity: gelu and its kin would meet -infinity * 0, and
// so bound z where their other factor is zero.
#pragma once

#include "kernels/math.hpp"
#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

struct OfOutput {
  static constexpr bool of_input = false;
};
struct OfInput {
  static constexpr bool of_input = true;
};

// z within [-most, most].
template <class T>
inline Vec<T> bounded(Vec<T> z, T most) {
  return max(set(-most), min(set(most), z));
}

// ---- derivative of the output ------------------------------------------------------------------------------------

template <class T>
struct Identity : OfOutput {
  static Vec<T> forward(Vec<T> z) { return z; }
  static Vec<T> backward(Vec<T> dy, Vec<T>) { return dy; }
};

template <class T>
struct Relu : OfOutput {
  static Vec<T> forward(Vec<T> z) { return max(set(T(0)), z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return select(set(T(0)) < y, dy, set(T(0))); }  // 0 at the kink
};

// z above 0, slope z below.
template <class T>
struct LeakyRelu : OfOutput {
  static constexpr T slope = T(0.01);
  static Vec<T> forward(Vec<T> z) { return select(set(T(0)) < z, z, set(slope) * z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return select(set(T(0)) < y, dy, set(slope) * dy); }
};

// What is between low and high: derivative 1 inside, 0 at the kinks and beyond.
template <class T, int low, int high>
struct Clip : OfOutput {
  static Vec<T> forward(Vec<T> z) { return min(set(T(high)), max(set(T(low)), z)); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) {
    return select((set(T(low)) < y) & (y < set(T(high))), dy, set(T(0)));
  }
};
template <class T>
using Relu6 = Clip<T, 0, 6>;
template <class T>
using HardTanh = Clip<T, -1, 1>;

// relu6(z + 3) / 6
template <class T>
struct HardSigmoid : OfOutput {
  static Vec<T> forward(Vec<T> z) { return Relu6<T>::forward(z + set(T(3))) * set(T(1) / T(6)); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return Clip<T, 0, 1>::backward(dy * set(T(1) / T(6)), y); }
};

// z above 0, exp(z) - 1 below.
template <class T>
struct Elu : OfOutput {
  static Vec<T> forward(Vec<T> z) { return select(set(T(0)) < z, z, expm1_nonpositive(z)); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return select(set(T(0)) < y, dy, fma(dy, y, dy)); }
};

// scale z above 0, scale alpha (exp(z) - 1) below (Klambauer et al. 2017).
template <class T>
struct Selu : OfOutput {
  static constexpr T scale = T(1.0507009873554804934193), scale_alpha = T(1.7580993408473768599403);
  static Vec<T> forward(Vec<T> z) {
    return select(set(T(0)) < z, set(scale) * z, set(scale_alpha) * expm1_nonpositive(z));
  }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) {
    return dy * select(set(T(0)) < y, set(scale), y + set(scale_alpha));
  }
};

// log(1 + exp(z)); derivative 1 - exp(-y).
template <class T>
struct Softplus : OfOutput {
  static Vec<T> forward(Vec<T> z) { return max(set(T(0)), z) + log1p(exp(set(T(0)) - abs(z))); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) {
    const Vec<T> zero = set(T(0));
    return dy * (zero - expm1_nonpositive(zero - y));
  }
};

template <class T>
struct Tanh : OfOutput {
  static Vec<T> forward(Vec<T> z) { return tanh(z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return dy * fma(set(T(0)) - y, y, set(T(1))); }
};

template <class T>
struct Sigmoid : OfOutput {
  static Vec<T> forward(Vec<T> z) { return sigmoid(z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> y) { return dy * (y * (set(T(1)) - y)); }
};

// ---- derivative of the input -------------------------------------------------------------------------------------

// z Phi(z), Phi the normal distribution (Hendrycks and Gimpel 2016); derivative Phi + z phi.
template <class T>
struct Gelu : OfInput {
  static constexpr T reach = Constants<T>::normal_reach;
  static Vec<T> forward(Vec<T> z) { return max(set(-reach), z) * normal(z).distribution; }
  static Vec<T> backward(Vec<T> dy, Vec<T> z) {
    const Normal<T> n = normal(z);
    const Vec<T> density = set(T(0.39894228040143267794)) * n.exponential;
    return dy * fma(bounded(z, reach), density, n.distribution);
  }
};

// z / 2 (1 + tanh u), u = sqrt(2/pi) (z + 0.044715 z^3): the same as z sigmoid(2u), without cancellation.
template <class T>
struct GeluTanh : OfInput {
  static constexpr T reach = 40;  // sigmoid(2u) is 0 or 1 there
  static constexpr T linear = T(1.5957691216057307117598), cubic = T(0.0713548162726002527714);
  static Vec<T> twice_u(Vec<T> z) { return z * fma(z * z, set(cubic), set(linear)); }
  static Vec<T> forward(Vec<T> z) {
    const Vec<T> x = max(set(-reach), z);
    return x * sigmoid(twice_u(x));
  }
  static Vec<T> backward(Vec<T> dy, Vec<T> z) {
    const Vec<T> x = bounded(z, reach), slope = x * fma(x * x, set(3 * cubic), set(linear));  // x d(2u)/dz
    const Sigmoids<T> s = sigmoids(twice_u(x));
    return dy * fma(s.plus * s.minus, slope, s.plus);
  }
};

// z sigmoid(z)
template <class T>
struct Silu : OfInput {
  static constexpr T reach = 750;  // exp(-reach) is 0 in both dtypes
  static Vec<T> forward(Vec<T> z) { return max(set(-reach), z) * sigmoid(z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> z) {
    const Sigmoids<T> s = sigmoids(z);
    return dy * fma(s.plus * s.minus, bounded(z, reach), s.plus);
  }
};

// z tanh(softplus(z)) (Misra 2019). With e = exp(z) and n = e (e + 2): tanh(softplus(z)) = n / (n + 2), and its
// derivative is 4 e (e + 1) / (n + 2)^2.
template <class T>
struct Mish : OfInput {
  static constexpr T reach = 750, highest = 40;  // from z = 40 on the derivative is 1, and n^2 would leave float32
  static Vec<T> forward(Vec<T> z) {
    const Vec<T> e = exp(min(set(highest), z)), two = set(T(2)), n = e * (e + two);
    return max(set(-reach), z) * (n / (n + two));
  }
  static Vec<T> backward(Vec<T> dy, Vec<T> z) {
    const Vec<T> x = min(set(highest), max(set(-reach), z)), e = exp(x), one = set(T(1)), two = set(T(2));
    const Vec<T> n = e * (e + two), inverse = one / (n + two);
    const Vec<T> slope = (set(T(2)) * e * inverse) * (set(T(2)) * (e + one) * inverse);
    return dy * fma(x, slope, n * inverse);
  }
};

// z relu6(z + 3) / 6; derivative 0 up to -3 and 1 from 3 on.
template <class T>
struct HardSwish : OfInput {
  static Vec<T> forward(Vec<T> z) { return max(set(T(-3)), z) * HardSigmoid<T>::forward(z); }
  static Vec<T> backward(Vec<T> dy, Vec<T> z) {
    const Vec<T> inside = fma(z, set(T(1) / T(3)), set(T(0.5)));
    return dy * select(z < set(T(3)), select(set(T(-3)) < z, inside, set(T(0))), set(T(1)));
  }
};

template <Activation name, class Act, class Body>
void with(Body&& body, Act act) {
  static_assert(Act::of_input == keeps_input(name), "what the planner keeps is what backward takes");
  body(act);
}

// Calls body(act) with an object of the activation's type. softmax crosses columns and is not among them.
template <class T, class Body>
void with_activation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::identity: return with<Activation::identity>(body, Identity<T>{});
    case Activation::relu: return with<Activation::relu>(body, Relu<T>{});
    case Activation::leaky_relu: return with<Activation::leaky_relu>(body, LeakyRelu<T>{});
    case Activation::relu6: return with<Activation::relu6>(body, Relu6<T>{});
    case Activation::elu: return with<Activation::elu>(body, Elu<T>{});
    case Activation::selu: return with<Activation::selu>(body, Selu<T>{});
    case Activation::softplus: return with<Activation::softplus>(body, Softplus<T>{});
    case Activation::tanh: return with<Activation::tanh>(body, Tanh<T>{});
    case Activation::hard_tanh: return with<Activation::hard_tanh>(body, HardTanh<T>{});
    case Activation::sigmoid: return with<Activation::sigmoid>(body, Sigmoid<T>{});
    case Activation::hard_sigmoid: return with<Activation::hard_sigmoid>(body, HardSigmoid<T>{});
    case Activation::gelu: return with<Activation::gelu>(body, Gelu<T>{});
    case Activation::gelu_tanh: return with<Activation::gelu_tanh>(body, GeluTanh<T>{});
    case Activation::silu: return with<Activation::silu>(body, Silu<T>{});
    case Activation::mish: return with<Activation::mish>(body, Mish<T>{});
    case Activation::hard_swish: return with<Activation::hard_swish>(body, HardSwish<T>{});
    case Activation::softmax: return;
  }
}

// y = act(x) for the rows [0, rows) and whole vectors of the columns [0, columns); y may be x.
template <class T>
void activate_block(Activation activation, T* y_bo, Index y_ld, const T* x_bo, Index x_ld, Index rows, Index columns) {
  with_activation<T>(activation, [&](auto act) {
    for (Index b = 0; b < rows; ++b, y_bo += y_ld, x_bo += x_ld)
      for (Index o = 0; o < columns; o += Vec<T>::lanes) store(y_bo + o, act.forward(load(x_bo + o)));
  });
}

// exp(x - max) / sum over each row of `columns` columns; y may be x.
template <class T>
void softmax_rows(T* y_bo, Index y_ld, const T* x_bo, Index x_ld, Index rows, Index columns) {
  for (Index b = 0; b < rows; ++b, y_bo += y_ld, x_bo += x_ld) {
    const Vec<T> highest = set(row_max(x_bo, columns));
    for (Index o = 0; o < columns; o += Vec<T>::lanes)
      store(y_bo + o, exp(load_first(x_bo + o, columns - o, T(-INFINITY)) - highest));
    const Vec<T> inverse = set(T(1) / row_sum<T>(columns, [&](Index o) { return load(y_bo + o); }));
    for (Index o = 0; o < columns; o += Vec<T>::lanes) store(y_bo + o, load(y_bo + o) * inverse);
  }
}

// dx = y (dy - sum of dy y) in each row; dx may be dy.
template <class T>
void softmax_backward(const SoftmaxBackward& s) noexcept {
  const Index n = s.columns;
  for (Index b = s.rows.begin; b < s.rows.end; ++b) {
    T* dx_o = static_cast<T*>(s.dx) + b * s.dx_ld;
    const T* dy_o = static_cast<const T*>(s.dy) + b * s.dy_ld;
    const T* y_o = static_cast<const T*>(s.y) + b * s.y_ld;
    const Vec<T> mean = set(row_sum<T>(n, [&](Index o) { return load(dy_o + o) * load(y_o + o); }));
    for (Index o = 0; o < n; o += Vec<T>::lanes)
      store(dx_o + o, keep_first(load(y_o + o) * (load(dy_o + o) - mean), n - o));
  }
}

template <class T>
void activate(const Activate& a) noexcept {
  const Index rows = a.rows.end - a.rows.begin, columns = a.columns.end - a.columns.begin;
  T* y_bo = static_cast<T*>(a.y) + a.rows.begin * a.y_ld + a.columns.begin;
  const T* x_bo = static_cast<const T*>(a.x) + a.rows.begin * a.x_ld + a.columns.begin;
  if (a.activation == Activation::softmax) return softmax_rows(y_bo, a.y_ld, x_bo, a.x_ld, rows, columns);
  activate_block(a.activation, y_bo, a.y_ld, x_bo, a.x_ld, rows, columns);
}

}  // namespace thalweg::THALWEG_ISA

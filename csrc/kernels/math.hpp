// exp, expm1, log1p, tanh and sigmoid of a vector: own polynomials, the same order of FMAs on every ISA.
// Error bounds in ulp: docs/numerics.md, measured by tests/test_math.py. NaN in, NaN out. Results below the smallest
// normal number are flushed to zero.
#pragma once

#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

template <class T>
struct Constants;

// high + low = ln 2, and n * high is exact for every exponent n. `expm1`: the minimax polynomial q of
// expm1(r) = r + r^2 q(r) for |r| <= ln(2)/2, relative error 2^-31.9 and 2^-61.7. `log`: that of
// log((1+s)/(1-s)) = 2s + s z q(z), z = s^2, for |s| <= (sqrt(2)-1)/(sqrt(2)+1), 2^-36.5 and 2^-58.4.
// Both by Remez exchange in 40 digits. exp_lowest and exp_highest: where exp leaves the normal numbers.
template <>
struct Constants<float> {
  static constexpr float high = 0.693359375f, low = -2.12194440e-4f;
  static constexpr float exp_lowest = -87.33654f, exp_highest = 88.72283f;
  static constexpr float expm1[] = {0.50000000462934315132f,  0.16666666817141199084f,  0.041666354803935481111f,
                                    0.0083332730133441169779f, 0.0013941011254682009182f, 0.00019914199175700313397f};
  static constexpr float log[] = {0.66666665656999144002f, 0.40000333764712982384f, 0.28537352423120672371f,
                                  0.23581948968736771142f};
};
template <>
struct Constants<double> {
  static constexpr double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
  static constexpr double exp_lowest = -708.396418532264, exp_highest = 709.782712893383;
  static constexpr double expm1[] = {
      0.49999999999999999986,   0.16666666666666676593,     0.04166666666666670135,     0.0083333333333216102362,
      0.0013888888888866824157, 0.00019841269886193560871,  0.000024801587360606912802, 2.7557244129084185337e-6,
      2.7557242702906795733e-7, 2.5109068634127949656e-8,   2.0924463825743368995e-9};
  static constexpr double log[] = {0.66666666666667311356, 0.39999999999429934837, 0.28571428739885861554,
                                   0.22222198764901792746, 0.18183556968800057704, 0.15314184493532449327,
                                   0.1479506880121185152};
};

// c[0] + c[1] x + ... by Horner's rule.
template <class T, int n>
inline Vec<T> polynomial(const T (&c)[n], Vec<T> x) {
  Vec<T> sum = set(c[n - 1]);
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; --i) sum = fma(sum, x, set(c[i]));
  return sum;
}

// exp(x) = 2^n (1 + rest), with rest = expm1(x - n ln 2).
template <class T>
struct Reduced {
  Vec<T> n, rest;
};
template <class T>
inline Reduced<T> reduce(Vec<T> x) {
  using C = Constants<T>;
  const Vec<T> n = nearest(x * set(T(1.44269504088896340736)));
  Vec<T> r = fma(n, set(-C::high), x);
  r = fma(n, set(-C::low), r);
  return {n, fma(r * r, polynomial(C::expm1, r), r)};
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  using C = Constants<T>;
  const Vec<T> bounded = min(set(C::exp_highest), max(set(C::exp_lowest), x));
  const Reduced<T> e = reduce(bounded);
  const Vec<T> half = nearest(e.n * set(T(0.5)));  // 2^n in two factors: n reaches one beyond the exponents
  const Vec<T> y = (e.rest + set(T(1))) * power_of_two(half) * power_of_two(e.n - half);
  const Vec<T> low = select(x < set(C::exp_lowest), set(T(0)), y);
  return select(set(C::exp_highest) < x, set(T(INFINITY)), low);
}

// For x <= 0: 2^n rest + (2^n - 1) keeps every digit of a small x.
template <class T>
inline Vec<T> expm1_nonpositive(Vec<T> x) {
  const Reduced<T> e = reduce(max(set(T(-64)), x));  // expm1(-64) is -1 in both dtypes
  const Vec<T> scale = power_of_two(e.n);
  return fma(scale, e.rest, scale - set(T(1)));
}

// For u >= 0. w = 1 + u loses a digit c, which comes back as c/w; log w = n ln 2 + log(1 + f) after Tang's and
// FDLIBM's form f - (h - s (h + R)), h = f^2/2, s = f/(2+f).
template <class T>
inline Vec<T> log1p(Vec<T> u) {
  using C = Constants<T>;
  const Vec<T> one = set(T(1)), w = u + one;
  const Vec<T> c = select(u < one, u - (w - one), one - (w - u));
  const Split<T> x = split_exponent(w);
  const Vec<T> f = x.mantissa - one, h = set(T(0.5)) * f * f, s = f / (set(T(2)) + f), z = s * s;
  const Vec<T> rest = fma(x.exponent, set(C::low), c / w);
  const Vec<T> tail = fma(s, fma(z, polynomial(C::log, z), h), rest);
  const Vec<T> y = fma(x.exponent, set(C::high), f - (h - tail));
  return select(u < set(T(INFINITY)), y, u);  // infinity and NaN pass
}

// By the sign of x, so that nothing overflows: 1/(1 + e) or e/(1 + e) with e = exp(-|x|).
template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> e = exp(set(T(0)) - abs(x)), one = set(T(1));
  return select(x < set(T(0)), e, one) / (one + e);
}

// -t/(2 + t) with t = expm1(-2|x|): no cancellation near zero.
template <class T>
inline Vec<T> tanh(Vec<T> x) {
  const Vec<T> t = expm1_nonpositive(abs(x) * set(T(-2)));
  return copy_sign(t / (t + set(T(2))), x);
}

}  // namespace thalweg::THALWEG_ISA

// Cross entropy of the softmax of logits, with its gradient.
//
// With m = max y and s = sum of exp(y_c - m) over all classes but the (first) largest, log sum exp = m + log1p(s):
// the loss of a confident prediction keeps its digits, where log(1 + s) would give 0. The gradient at the label,
// p - 1, is -(s + 1 - e_label) / (1 + s) for the same reason. With smoothing a, targets t become
// (1 - a) t + a / classes, those of labels too.
#pragma once

#include "kernels/math.hpp"
#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// One row of a RowLoss, its pointers typed. `scale`: what its gradient is multiplied by.
template <class T>
struct LossRow {
  T* loss;
  T* dy_o;
  const T* y_o;
  const T* target_o;  // null with labels
  const T* label;
  T scale, fault;
};

template <class T>
LossRow<T> loss_row(const RowLoss& l, Index b) {
  const T weight = l.weight ? static_cast<const T*>(l.weight)[b] : T(1);
  return {static_cast<T*>(l.loss) + b,
          static_cast<T*>(l.dy) + b * l.dy_ld,
          static_cast<const T*>(l.y) + b * l.y_ld,
          l.targets ? static_cast<const T*>(l.targets) + b * l.targets_ld : nullptr,
          l.labels ? static_cast<const T*>(l.labels) + b : nullptr,
          weight * static_cast<T>(l.scale),
          l.fault ? static_cast<const T*>(l.fault)[b] : T(0)};
}

constexpr Index few_classes = 16;

// t -> (1 - a) t + a / classes
template <class T>
struct Smoothing {
  Vec<T> keep, spread;
  explicit Smoothing(const RowLoss& l)
      : keep(set(static_cast<T>(1 - l.smoothing))), spread(set(static_cast<T>(l.smoothing / l.columns))) {}
  Vec<T> operator()(Vec<T> t) const { return fma(t, keep, spread); }
};

// Up to 16 classes of `lanes` rows, turned so that a lane is a row: every step below serves all rows at once, and sums
// over classes go in class order.
template <class T>
struct ClassMajor {
  Vec<T> of[few_classes];
};

template <class T>
ClassMajor<T> load_classes(const T* y_bc, Index y_ld, Index rows, Index classes) {
  constexpr Index lanes = Vec<T>::lanes;
  ClassMajor<T> all;
  for (Index c = 0; c < classes; c += lanes) {
    Vec<T> block[lanes];
#pragma GCC unroll 16
    for (Index b = 0; b < lanes; ++b) block[b] = b < rows ? load(y_bc + b * y_ld + c) : set(T(0));
    transpose(block);
#pragma GCC unroll 16
    for (Index i = 0; i < lanes; ++i) all.of[c + i] = block[i];
  }
  return all;
}

template <class T>
void store_classes(T* dy_bc, Index dy_ld, const ClassMajor<T>& all, Index rows, Index classes) {
  constexpr Index lanes = Vec<T>::lanes;
  for (Index c = 0; c < classes; c += lanes) {
    Vec<T> block[lanes];
#pragma GCC unroll 16
    for (Index i = 0; i < lanes; ++i) block[i] = c + i < classes ? all.of[c + i] : set(T(0));
    transpose(block);
#pragma GCC unroll 16
    for (Index b = 0; b < lanes; ++b)
      if (b < rows) store(dy_bc + b * dy_ld + c, block[b]);
  }
}

// exp(y_c - m) of every class, m, and s.
template <class T>
struct Softmax {
  ClassMajor<T> e;
  Vec<T> highest, others;
};

template <class T>
Softmax<T> softmax(const ClassMajor<T>& y, Index classes) {
  Softmax<T> x;
  x.highest = y.of[0];
  x.others = set(T(0));
  for (Index c = 1; c < classes; ++c) x.highest = max(x.highest, y.of[c]);
  Mask<T> met = set(T(0)) < set(T(0));  // rows whose largest class has been met
  for (Index c = 0; c < classes; ++c) {
    x.e.of[c] = exp(y.of[c] - x.highest);
    const Mask<T> first = (y.of[c] == x.highest) & ~met;
    x.others = x.others + select(first, set(T(0)), x.e.of[c]);
    met = met | first;
  }
  return x;
}

// Loss of `lanes` rows whose labels are given; y becomes the gradient.
template <class T>
Vec<T> entropy_of_labels(ClassMajor<T>& y, Vec<T> label, Vec<T> scale, Index classes) {
  const Softmax<T> x = softmax(y, classes);
  const Vec<T> one = set(T(1)), inverse = scale / (one + x.others);
  Vec<T> y_label = set(T(0));
  for (Index c = 0; c < classes; ++c) {
    const Mask<T> hit = label == set(T(c));
    y_label = select(hit, y.of[c], y_label);
    const Vec<T> at_label = set(T(0)) - (x.others + (one - x.e.of[c]));
    y.of[c] = select(hit, at_label, x.e.of[c]) * inverse;
  }
  return log1p(x.others) + (x.highest - y_label) + (label - label);
}

// Loss of `lanes` rows whose targets are probabilities; y becomes the gradient.
template <class T>
Vec<T> entropy_of_targets(ClassMajor<T>& y, const ClassMajor<T>& target, Vec<T> scale, Index classes) {
  const Softmax<T> x = softmax(y, classes);
  const Vec<T> log_sum = log1p(x.others);
  Vec<T> loss = set(T(0)), total = set(T(0));
  for (Index c = 0; c < classes; ++c) {
    loss = fma(target.of[c], log_sum + (x.highest - y.of[c]), loss);
    total = total + target.of[c];
  }
  const Vec<T> share = total / (set(T(1)) + x.others);
  for (Index c = 0; c < classes; ++c) y.of[c] = (x.e.of[c] * share - target.of[c]) * scale;
  return loss;
}

// Targets of `lanes` rows: of labels a class each, of probabilities what was given; smoothed.
template <class T>
ClassMajor<T> targets_of(const LossRow<T>& row, const Smoothing<T>& smooth, Index ld, Index rows, Index classes) {
  ClassMajor<T> t{};
  if (!row.label) {
    t = load_classes(row.target_o, ld, rows, classes);
    for (Index c = 0; c < classes; ++c) t.of[c] = smooth(t.of[c]);
    return t;
  }
  const Vec<T> label = load_first(row.label, rows), unknown = label - label;  // NaN for a label out of range
  for (Index c = 0; c < classes; ++c)
    t.of[c] = smooth(select(label == set(T(c)), set(T(1)), set(T(0)))) + unknown;
  return t;
}

// One row whose label is given: what entropy_of_labels makes of a lane, bit for bit. Sums go over the classes in their order.
template <class T>
void entropy_of_label_alone(const LossRow<T>& row, Index classes) {
  constexpr Index lanes = Vec<T>::lanes, vectors = few_classes / lanes;
  const T *y = row.y_o, label = *row.label;
  T highest = y[0], y_label = 0, e_c[few_classes], others = 0;
  for (Index c = 1; c < classes; ++c) highest = highest > y[c] ? highest : y[c];
  Vec<T> e[vectors];
  for (Index v = 0; v * lanes < classes; ++v) store(e_c + v * lanes, e[v] = exp(load(y + v * lanes) - set(highest)));
  bool met = false;  // the first largest class
  for (Index c = 0; c < classes; ++c) {
    const bool first = (y[c] == highest) & !met;
    others += first ? T(0) : e_c[c];
    met |= first;
    y_label = label == T(c) ? y[c] : y_label;
  }
  const Vec<T> one = set(T(1)), sum = set(others), inverse = set(row.scale) / (one + sum);
  for (Index v = 0; v * lanes < classes; ++v) {
    const Mask<T> hit = to_floats<T>(count<T>()) + set(T(v * lanes)) == set(label);
    const Vec<T> dy = select(hit, set(T(0)) - (sum + (one - e[v])), e[v]) * inverse;
    store(row.dy_o + v * lanes, keep_first(dy, classes - v * lanes));
  }
  *row.loss = log1p(sum).reg[0] + (highest - y_label) + (label - label) + row.fault;
}

template <class T>
void cross_entropy_few(const RowLoss& l) {
  const Smoothing<T> smooth(l);
  constexpr Index lanes = Vec<T>::lanes;
  for (Index b = l.rows.begin; b < l.rows.end; b += lanes) {
    const LossRow<T> row = loss_row<T>(l, b);
    const Index rows = l.rows.end - b < lanes ? l.rows.end - b : lanes, n = l.columns;
    if (rows == 1 && row.label && l.smoothing == 0) return entropy_of_label_alone(row, n);
    const Vec<T> one = set(T(static_cast<T>(l.scale)));
    const Vec<T> scale = l.weight ? load_first(static_cast<const T*>(l.weight) + b, rows) * one : one;
    ClassMajor<T> y = load_classes(row.y_o, l.y_ld, rows, n);
    const Vec<T> loss = row.label && l.smoothing == 0
                            ? entropy_of_labels(y, load_first(row.label, rows), scale, n)
                            : entropy_of_targets(y, targets_of(row, smooth, l.targets_ld, rows, n), scale, n);
    const Vec<T> fault = l.fault ? load_first(static_cast<const T*>(l.fault) + b, rows) : set(T(0));
    store_first(row.loss, loss + fault, rows);
    store_classes(row.dy_o, l.dy_ld, y, rows, n);
  }
}

// More than 16 classes: one row at a time, sums in dot form. dy holds exp(y - m) on the way.
template <class T>
struct RowSoftmax {
  T highest, others, log_sum;  // m, s, log1p(s)
  Index top;                   // the first largest class
};

template <class T>
RowSoftmax<T> softmax_into(T* e_o, const T* y_o, Index n) {
  RowSoftmax<T> x;
  x.highest = row_max(y_o, n);
  for (x.top = 0; x.top < n - 1 && !(y_o[x.top] == x.highest);) ++x.top;
  for (Index o = 0; o < n; o += Vec<T>::lanes)
    store(e_o + o, exp(load_first(y_o + o, n - o, T(-INFINITY)) - set(x.highest)));
  const T largest = e_o[x.top];
  e_o[x.top] = largest == T(1) ? T(0) : largest;  // NaN stays
  x.others = row_sum<T>(n, [&](Index o) { return load(e_o + o); });
  e_o[x.top] = largest;
  x.log_sum = log1p(set(x.others)).reg[0];
  return x;
}

template <class T>
void cross_entropy_of_label(const LossRow<T>& row, const RowSoftmax<T>& x, Index n) {
  const Index label = *row.label >= T(0) ? static_cast<Index>(*row.label) : 0;
  const T at_label = -(x.others + (T(1) - row.dy_o[label])), scale = row.scale / (T(1) + x.others);
  *row.loss = x.log_sum + (x.highest - row.y_o[label]) + (*row.label - *row.label) + row.fault;
  row.dy_o[label] = at_label;
  for (Index o = 0; o < n; o += Vec<T>::lanes) store(row.dy_o + o, load(row.dy_o + o) * set(scale));
}

// target(o): the row's targets from column o on.
template <class T, class Target>
void cross_entropy_of_targets(const LossRow<T>& row, const RowSoftmax<T>& x, Index n, Target&& target) {
  const Vec<T> log_sum = set(x.log_sum), highest = set(x.highest), scale = set(row.scale);
  const auto loss = [&](Index o) { return target(o) * (log_sum + (highest - load(row.y_o + o))); };
  *row.loss = row_sum<T>(n, loss) + row.fault;
  const Vec<T> share = set(row_sum<T>(n, target) / (T(1) + x.others));
  for (Index o = 0; o < n; o += Vec<T>::lanes)
    store(row.dy_o + o, keep_first((load(row.dy_o + o) * share - target(o)) * scale, n - o));
}

template <class T>
void cross_entropy_many(const RowLoss& l) {
  const Smoothing<T> smooth(l);
  const Index n = l.columns;
  for (Index b = l.rows.begin; b < l.rows.end; ++b) {
    const LossRow<T> row = loss_row<T>(l, b);
    const RowSoftmax<T> x = softmax_into(row.dy_o, row.y_o, n);
    if (!row.label) cross_entropy_of_targets(row, x, n, [&](Index o) { return smooth(load(row.target_o + o)); });
    else if (l.smoothing == 0) cross_entropy_of_label(row, x, n);
    else cross_entropy_of_targets(row, x, n, [&](Index o) { return smooth(one_hot(*row.label, o)); });
  }
}

template <class T>
void cross_entropy(const RowLoss& l) {
  if (l.columns <= few_classes) cross_entropy_few<T>(l);
  else cross_entropy_many<T>(l);
}

}  // namespace thalweg::THALWEG_ISA

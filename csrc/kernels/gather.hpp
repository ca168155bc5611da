// Reads a user's rows, of any real dtype and stride, in the batch's order, into our dtype and padded rows.
// Integers are converted with the dtype's own rounding: float32 holds integers up to 2^24 exactly.
#pragma once

#include "kernels/rows.hpp"
#include "kernels/table.hpp"
#include "simd/simd.hpp"

namespace thalweg::THALWEG_ISA {

// Calls body with a value of the C++ type of a source.
template <class Body>
void with_source(Source type, Body&& body) {
  switch (type) {
    case Source::f32: return body(float{});
    case Source::f64: return body(double{});
    case Source::i8: return body(std::int8_t{});
    case Source::u8: return body(std::uint8_t{});
    case Source::i16: return body(std::int16_t{});
    case Source::u16: return body(std::uint16_t{});
    case Source::i32: return body(std::int32_t{});
    case Source::u32: return body(std::uint32_t{});
    case Source::i64: return body(std::int64_t{});
    case Source::u64: return body(std::uint64_t{});
  }
}

// A user's array need not be aligned to its dtype.
template <class S>
inline S read(const char* p) {
  S value;
  __builtin_memcpy(&value, p, sizeof(S));
  return value;
}

inline const char* row_of(const Array& array, const Index* order, Index b) {
  return static_cast<const char*>(array.data) + (order ? order[b] : b) * array.row_stride;
}

template <class T, class S>
void gather_row(T* out_c, const char* row, Index column_stride, Index columns) {
  if (column_stride == sizeof(S))
    for (Index c = 0; c < columns; ++c) out_c[c] = static_cast<T>(read<S>(row + c * sizeof(S)));
  else
    for (Index c = 0; c < columns; ++c) out_c[c] = static_cast<T>(read<S>(row + c * column_stride));
}

// (row - mean) * scale, in float64 until it is rounded: large offsets cost no digits.
template <class T, class S>
void standardize_row(T* out_c, const char* row, Index column_stride, const Gather& g) {
  for (Index c = 0; c < g.columns; ++c)
    out_c[c] = static_cast<T>((static_cast<double>(read<S>(row + c * column_stride)) - g.mean[c]) * g.scale[c]);
}

// Same dtype, neighbouring columns: a copy.
template <class T>
void copy_row(T* out_c, const char* row, Index columns) {
  const T* from = reinterpret_cast<const T*>(row);
  Index c = 0;
  for (; c + Vec<T>::lanes <= columns; c += Vec<T>::lanes) store(out_c + c, load(from + c));
  for (; c < columns; ++c) out_c[c] = from[c];
}

// A shuffled row may lie anywhere in memory, so its lines are asked for while those before it are read: two rows ahead, more
// where rows are under 4 KB, and into L2, which has twice as many on their way at a time as L1.
struct RowsAhead {
  Index bytes, rows;
  RowsAhead(const Array& array, Index item, Index columns)
      : bytes(array.column_stride == item ? item * columns : 0), rows(2 + 4096 / (bytes + 64)) {}
  [[gnu::always_inline]] void fetch(const char* row) const {
    for (Index byte = 0; byte < bytes; byte += 64) prefetch_l2(row + byte);
  }
};

template <class A, class B>
constexpr bool same = false;
template <class A>
constexpr bool same<A, A> = true;

// Whether rows of T can be read as they stand: columns side by side, each aligned to T.
template <class T>
bool plain(const Array& a) {
  const auto address = reinterpret_cast<std::uintptr_t>(a.data) | static_cast<std::uintptr_t>(a.row_stride);
  return a.column_stride == sizeof(T) && address % sizeof(T) == 0;
}

// 0, or NaN if one of the numbers is NaN or infinite.
template <class T>
T fault_of(const T* out_c, Index columns) {
  T sum = 0;
  for (Index c = 0; c < columns; ++c) sum += out_c[c] * T(0);
  return sum;
}

template <class T>
void gather(const Gather& g) noexcept {
  with_source(g.array.type, [&](auto value) {
    using S = decltype(value);
    const bool copy = same<S, T> && plain<T>(g.array);
    const RowsAhead ahead(g.array, sizeof(S), g.columns);
    for (Index b = g.rows.begin; b < g.rows.end; ++b) {
      if (b + ahead.rows < g.rows.end) ahead.fetch(row_of(g.array, g.order, b + ahead.rows));
      T* out_c = static_cast<T*>(g.out) + b * g.out_ld;
      const char* row = row_of(g.array, g.order, b);
      if (g.mean) standardize_row<T, S>(out_c, row, g.array.column_stride, g);
      else if (copy) copy_row(out_c, row, g.columns);
      else gather_row<T, S>(out_c, row, g.array.column_stride, g.columns);
      if (g.fault) static_cast<T*>(g.fault)[b] = fault_of(out_c, g.columns);
    }
  });
}

template <class T>
void gather_labels(const GatherLabels& g) noexcept {
  with_source(g.array.type, [&](auto value) {
    using S = decltype(value);
    for (Index b = g.rows.begin; b < g.rows.end; ++b) {
      const auto label = static_cast<Index>(read<S>(row_of(g.array, g.order, b)));
      const bool known = label >= 0 && label < g.classes;
      static_cast<T*>(g.out)[b] = known ? static_cast<T>(label) : static_cast<T>(__builtin_nan(""));
    }
  });
}

}  // namespace thalweg::THALWEG_ISA

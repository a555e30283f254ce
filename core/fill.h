// Kernels of core: constants, sequences and copies. T is any dtype's type.
#pragma once
#include "core/nest.h"

namespace moegrad {

/// y[i] = first + i step, for i < n; where last is not NaN, y[n - 1] = last for n > 1. Computed in f64.
struct Line {
  double first = 0, step = 1, last = __builtin_nan("");
  MOEGRAD_HD double at(i64 i, i64 n) const {
    return i == n - 1 && i > 0 && last == last ? last : first + static_cast<double>(i) * step;
  }
};

// clang-format off
namespace cpu {
template <class T> void fill_value(T* y, i64 n, T value);
template <class T> void fill_line(T* y, i64 n, const Line& line);
template <class T> void copy_elements(const T* x, T* y, const Nest<2>& nest);
}
namespace cuda {
template <class T> void fill_value(T* y, i64 n, T value);
template <class T> void fill_line(T* y, i64 n, const Line& line);
template <class T> void copy_elements(const T* x, T* y, const Nest<2>& nest);
}
// clang-format on

}  // namespace moegrad

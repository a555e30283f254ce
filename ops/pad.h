// A border around a tensor, and the triangles of matrices.
#pragma once
#include <initializer_list>
#include <span>

#include "core/tensor.h"

namespace moegrad {

/// What to add to an axis on either side; a negative number cuts off as many positions.
struct Padding {
  i64 before = 0, after = 0;
};

/// y = x with `value` added around it, for the last axes of x: pad(x, {{1, 2}}) is for the last one alone.
///   Shapes    x [.., n, ..] -> y [.., before + n + after, ..]
///   Dtypes    any; value becomes x's dtype
///   Gradient  dx = dy padded by the negative amounts; any order
///   Errors    ShapeError: more pairs than axes, a size would be negative.  DTypeError: a fraction beside integers
Tensor pad(const Tensor& x, std::span<const Padding> paddings, double value = 0);
Tensor pad(const Tensor& x, std::initializer_list<Padding> paddings, double value = 0);

enum class PadMode {
  reflect,    ///< mirrored at the first and last element, which are not repeated: c b | a b c | b a
  replicate,  ///< the first and last element repeated: a a | a b c | c c
  circular,   ///< continued from the other end: b c | a b c | a b
};
/// y = x continued beyond its ends, axis by axis. Negative amounts cut first; what is left is continued.
///   Shapes    as pad with a value; per axis of n: amounts < n to reflect, <= n circular, any with n > 0 to replicate
///   Dtypes    any
///   Gradient  dx = dy added up over the places that an element went to; any order
///   Errors    ShapeError: as pad, and an amount is too large
Tensor pad(const Tensor& x, std::span<const Padding> paddings, PadMode mode);
Tensor pad(const Tensor& x, std::initializer_list<Padding> paddings, PadMode mode);

/// The lower / upper triangle of each matrix: y[.., i, j] = x[.., i, j] where j <= i + diagonal / j >= i + diagonal,
/// else 0 (whatever x is there).
///   Shapes    x [.., m, n] -> y, same shape.  Dtypes: any
///   Gradient  dx = the same triangle of dy; any order
///   Errors    ShapeError: fewer than two axes
Tensor tril(const Tensor& x, i64 diagonal = 0);
Tensor triu(const Tensor& x, i64 diagonal = 0);

// Kernels, called only by ops/pad.cpp: matrices [count, m, n], contiguous.
namespace cpu {
template <class T> void triangle(const T* x, T* y, i64 count, i64 m, i64 n, i64 diagonal, bool lower);
}
namespace cuda {
template <class T> void triangle(const T* x, T* y, i64 count, i64 m, i64 n, i64 diagonal, bool lower);
}

}  // namespace moegrad

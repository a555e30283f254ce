// Parts of a tensor along its axes, and their adjoint: a part placed into zeros.
#pragma once
#include <limits>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// The end of an axis, whatever its size.
inline constexpr i64 kEnd = std::numeric_limits<i64>::max();

/// begin, begin + step, .. up to but without end; negative begin and end count from the end of the axis, and what lies
/// outside it is cut off (as in Python). With a negative step, kEnd means down to and with position 0: {-1, kEnd, -1}
/// is the whole axis backwards.
struct Range {
  i64 begin = 0, end = kEnd, step = 1;
};
struct All {};
struct Ellipsis {};
struct NewAxis {};
inline constexpr All kAll{};            ///< the whole axis
inline constexpr Ellipsis kEllipsis{};  ///< as many whole axes as are left
inline constexpr NewAxis kNewAxis{};    ///< an axis of size 1

/// One entry of x.index({..}): a position (its axis is dropped), a Range, kAll, kEllipsis or kNewAxis.
struct Index {
  enum class Kind { position, range, ellipsis, new_axis };
  Index(i64 position) : kind(Kind::position), at(position) {}
  Index(int position) : kind(Kind::position), at(position) {}
  Index(Range r) : kind(Kind::range), range(r) {}
  Index(All) : kind(Kind::range) {}
  Index(Ellipsis) : kind(Kind::ellipsis) {}
  Index(NewAxis) : kind(Kind::new_axis) {}
  Kind kind;
  i64 at = 0;
  Range range;
};

/// y = x at the positions of `range` along `axis`; a view, also backwards (negative step).
///   Shapes    x [.., n, ..] -> y [.., count, ..]; positions outside the axis are cut off as in Python
///   Gradient  dx = place(dy); any order.  Dtypes: any
///   Errors    ShapeError: axis out of range.  IndexError: step is 0
Tensor slice(const Tensor& x, int axis, Range range);

/// y = x[.., position, ..]: one position of `axis`, which is dropped; a view.
///   Errors    IndexError: position outside [-n, n)
Tensor select(const Tensor& x, int axis, i64 position);

/// y = `fill` everywhere, but x at begin, begin + step, .. along `axis`, whose size becomes n.
///   Shapes    x [.., count, ..] -> y [.., n, ..]
///   Gradient  dx = slice(dy); any order.  Dtypes: any
///   Errors    ShapeError / IndexError: a position of x falls outside [0, n).  DTypeError: x is of integers, and fill is no
///             integer in their range
Tensor place(const Tensor& x, int axis, i64 n, i64 begin, i64 step = 1, double fill = 0);

/// y = x at `count` positions of `axis` from `begin` on (counted from the end where it is negative); a view.
///   Errors    ShapeError: axis out of range, count < 0.  IndexError: a position outside the axis
Tensor segment(const Tensor& x, int axis, i64 begin, i64 count);

/// x with the order of positions along `axis` (or several) reversed; a view.
///   Errors    ShapeError: an axis is out of range or named twice
Tensor flip(const Tensor& x, int axis);
Tensor flip(const Tensor& x, const Axes& axes);

}  // namespace moegrad

// Structured one-hot: the paper's notation at the cost of a gather.
//
// `one_hot(index, n)` stores no ones and zeros: it is a table of routes, with an optional scale per row. einsum, mul,
// sum, permute, reshape/slice/expand of row axes, cast and moves to another device keep that form; anything else that
// reads it sees the dense values.
#pragma once
#include "core/structure.h"
#include "ops/routes.h"

namespace moegrad {

/// y[i.., c] = 1 if index[i..] = c, else 0.
///   Shapes    index [..] i64 or i32 -> y [.., n], structured
///   Values    index in [-1, n); -1 is an empty row, all zeros
///   Dtypes    bool, which adopts the dtype of whatever it is multiplied with
///   Gradient  none by itself; scale * one_hot has that of its scale. Asking for its own is a GradError
///   Errors    DTypeError: index is no integer.  IndexError: a value outside [-1, n), named with its position; from
///             a GPU at the next call that waits, and by its value alone
Tensor one_hot(const Tensor& index, i64 n);

/// T[visible axes] = sum over hidden axes of scale[rows] * [every class axis matches the row's class].
class OneHot final : public Structure {
 public:
  /// axes: what each visible axis is, row axis r or class ~j. scale: shape of the rows, or empty for ones.
  OneHot(RoutesRef routes, Tensor scale, Labels axes, DType dtype);
  static Tensor make(RoutesRef routes, Tensor scale, Labels axes, DType dtype);

  const RoutesRef& routes() const { return routes_; }
  const Tensor& scale() const { return scale_; }
  const Labels& axes() const { return axes_; }
  DType dtype() const { return dtype_; }
  Shape shape() const;
  bool has_hidden_rows() const;

  Tensor dense() const override;
  Tensor detach() const override;
  bool requires_grad() const override { return scale_ && scale_.requires_grad(); }
  std::string describe() const override;
  Tensor permute(const Axes& axes) const override;
  Tensor reshape(const Shape& shape) const override;
  Tensor expand(const Shape& shape) const override;
  Tensor slice(int axis, i64 begin, i64 count, i64 step) const override;
  Tensor sum(const Axes& axes, bool keep) const override;
  Tensor mul(const Tensor& other) const override;
  Tensor cast(DType dtype) const override;
  Tensor to(Device device) const override;

  /// The same tensor with scale * factor; `factor` has one label (row or class) per axis.
  Tensor scaled(const Tensor& factor, const Labels& labels) const;

 private:
  RoutesRef routes_;
  Tensor scale_;
  Labels axes_;
  DType dtype_;
  mutable Tensor twin_;  // the dense form, once it was asked for
};

/// The structured one-hot behind x, or nullptr.
inline const OneHot* one_hot_of(const Tensor& x) { return static_cast<const OneHot*>(structure_of(x)); }

/// x [labels of row axes] as a tensor of all `rows`, expanded along the row axes that no label names; no copy.
Tensor lift_to_rows(const Tensor& x, const Labels& labels, const Shape& rows);

namespace detail {
/// The routes of an index table with values in [-1, n), for ops that read or write by one; errors go by the name of
/// `op`.
RoutesRef checked_routes(const char* op, const Tensor& index, i64 n);
}  // namespace detail

/// How often a structured one-hot was made dense on this thread. For tests.
i64 times_made_dense();

}  // namespace moegrad

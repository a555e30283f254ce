// Routes: a table that sends rows to classes, and the two ops that move values along it. Gather, scatter-add, weighted
// combine, their sums over rows and their gradients are all one of these two.
#pragma once
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

inline constexpr int kMaxClassAxes = 4;

/// An immutable table over rows [rows..]: for each class axis the class of every row, -1 for an empty row. An empty row
/// (with -1 in any class axis) carries nothing.
class Routes {
 public:
  /// index: i64 tensors of shape `rows`, one per class axis, with values in [-1, classes[j]), which the caller has
  /// checked.
  Routes(Shape rows, std::vector<Tensor> index, Shape classes);

  const Shape& rows() const { return rows_; }
  const Shape& classes() const { return classes_; }  ///< size of each class axis
  const Tensor& index(int j) const { return index_[static_cast<std::size_t>(j)]; }

  /// Rows by destination: the rows that reach destination d are order[begin[d]] .. order[begin[d + 1] - 1], ascending.
  /// (What order holds behind them does not count.)
  /// A destination is a position on the row axes of `row_mask` and the class axes of `class_mask`, in row-major order.
  struct Inverse {
    Tensor begin, order;  // i64
  };
  /// Made at the first call (a stable counting sort) and kept: forward and backward share it.
  const Inverse& inverse(u32 row_mask, u32 class_mask) const;

 private:
  Shape rows_, classes_;
  std::vector<Tensor> index_;
  struct Kept {
    u32 row_mask, class_mask;
    Inverse inverse;
  };
  mutable std::vector<std::unique_ptr<Kept>> kept_;
};
using RoutesRef = std::shared_ptr<const Routes>;

/// What an axis of an operand of route_sum or route_dot is: row axis r is r, class axis j is ~j, and any number from
/// kFeature on is a feature, an axis that routes do not touch.
using Labels = InlineList<int>;
inline constexpr int kFeature = 1000;

/// y[ly] = sum over rows of scale[row] x[lx]: along each route, the part of x at its row and class is added to y at
/// its.
///   Shapes    scale [rows..] or empty (all 1); x by its labels lx; y by ly.  Features must be the same in both
///   Dtypes    f32, f64, bf16 (added up in f32 and rounded once); scale as x. Without a scale also i32 and i64, whose
///             sums wrap around, and bool where each row has a place of its own in y
///   Gradient  dx = route_sum(scale, dy: ly -> lx), dscale = route_dot(x, dy); any order
///   Cost      2 (routes x features) FLOPs; nothing of size rows x classes unless y has it; the same bits for any
///             number of threads
Tensor route_sum(const RoutesRef& routes, const Tensor& scale, const Tensor& x, const Labels& lx, const Labels& ly);

/// d[rows..] = sum over features of x[lx] z[lz] along each route; 0 at empty rows.
///   Gradient  dx = route_sum(dd, z: lz -> lx), dz = route_sum(dd, x: lx -> lz); any order
Tensor route_dot(const RoutesRef& routes, const Tensor& x, const Labels& lx, const Tensor& z, const Labels& lz);

/// How a kernel walks the rows of a table. Strides are in elements; along class axes they are multiplied by the row's
/// class.
struct RouteLoop {
  int axes = 0;   // row axes, those of the destination first
  int outer = 0;  // how many of them the destination has; rows along the others are summed
  i64 size[kMaxRank] = {};
  i64 x[kMaxRank] = {}, y[kMaxRank] = {}, scale[kMaxRank] = {};
  int classes = 0;
  const i64* index[kMaxClassAxes] = {};
  i64 index_stride[kMaxClassAxes][kMaxRank] = {};
  i64 x_class[kMaxClassAxes] = {}, y_class[kMaxClassAxes] = {};
  i64 features = 1;
  i64 x_feature = 1, y_feature = 1;
};

// Kernels, called only by ops/routes.cpp. scale may be nullptr: all ones.
namespace cpu {
/// The destination has no class axis: y rows are written once each, empty ones with zeros.
template <class F> void route_gather(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop);
/// The destination has class axes: adds to y (zeros). Rows with different destination row axes never meet; each such
/// group is walked in order by one thread.
template <class F> void route_scatter(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop);
/// The same through the inverse: one thread per destination, every element of y is written.
template <class F>
void route_scatter_inverse(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop, const i64* begin,
                           const i64* order, i64 destinations);
/// d[row] = dot of features of x and y (the loop's second operand).
template <class F> void route_dots(const F* x, const F* y, F* d, const RouteLoop& loop);
/// Routes::Inverse of a loop whose y is the number of the destination.
void invert_routes(const RouteLoop& loop, i64 destinations, i64* begin, i64* order);
}  // namespace cpu
// The same, but sums are rounded as they are stored, and in route_scatter each row has a place of its own.
namespace cuda {
template <class F> void route_gather(const F* x, const F* scale, F* y, const RouteLoop& loop);
template <class F> void route_scatter(const F* x, const F* scale, F* y, const RouteLoop& loop);
template <class F>
void route_scatter_inverse(const F* x, const F* scale, F* y, const RouteLoop& loop, const i64* begin, const i64* order,
                           i64 destinations);
template <class F> void route_dots(const F* x, const F* y, F* d, const RouteLoop& loop);
void invert_routes(const RouteLoop& loop, i64 destinations, i64* begin, i64* order);
}  // namespace cuda

}  // namespace moegrad

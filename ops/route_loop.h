// From the labels of operands to the loop that the kernels of ops/routes.h run. For ops/routes.cpp only.
#pragma once
#include "ops/routes.h"

namespace moegrad::detail {

inline bool is_row(int label) { return label >= 0 && label < kFeature; }
inline bool is_class(int label) { return label < 0; }

/// Positions of labels in kernel order: rows ascending, classes ascending, features ascending.
Axes kernel_order(const Labels& labels);
Axes inverse_of(const Axes& order);
Labels pick(const Labels& labels, const Axes& order);

/// An operand in kernel order, its features one run with one stride.
struct Operand {
  Tensor x;
  Labels labels;
  i64 features = 1, feature_stride = 1;
};
Operand operand_of(const Tensor& x, const Labels& labels);

/// Throws ShapeError: axes of x have not the sizes of their rows and classes.
void check_operand(const char* op, const Routes& r, const Tensor& x, const Labels& labels);

/// The loop over all rows: those that `y_labels` names first.
RouteLoop loop_of(const Routes& r, const Operand& x, const Tensor& y, const Labels& y_labels, const Tensor& scale);

/// How route_sum reaches its destination.
struct Destination {
  u32 row_mask = 0, class_mask = 0;
  i64 groups = 1, classes = 1;  // positions on its row axes, on its class axes
  bool gathers() const { return class_mask == 0; }
  bool keeps_rows(const Routes& r) const { return row_mask == (u32{1} << r.rows().rank()) - 1; }
  /// Rows of different groups never meet: with enough groups (or one row in each) threads take whole groups, and add.
  /// A GPU has more threads than there are groups.
  bool adds(const Routes& r, Device device) const {
    constexpr i64 kManyGroups = 64;
    return !gathers() && ((device == Device::cpu && groups >= kManyGroups) || keeps_rows(r));
  }
};
Destination destination_of(const Routes& r, const Labels& y_labels);

}  // namespace moegrad::detail

#include "ops/reduce_loops.h"

#include "core/autograd.h"

namespace moegrad {

Shape kept_shape(const Shape& shape, const Axes& axes) {
  Shape y = shape;
  for (int a : axes) y[a] = 1;
  return y;
}
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keep) {
  if (keep) return kept_shape(shape, axes);
  Shape y;
  for (int i = 0; i < shape.rank(); ++i)
    if (!axes.contains(i)) y.push_back(shape[i]);
  return y;
}

detail::ReduceAxes detail::axes_in_memory(const Tensor& x, const Axes& reduced) {
  ReduceAxes axes;
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] > 1) axes.push_back({i, x.shape()[i], x.strides()[i], reduced.contains(i)});
  const auto outer_first = [](const ReduceAxis& a, const ReduceAxis& b) {
    return std::abs(a.stride) > std::abs(b.stride);
  };
  if (!std::is_sorted(axes.begin(), axes.end(), outer_first)) std::stable_sort(axes.begin(), axes.end(), outer_first);
  return axes;
}

ReducePlan detail::next_stage(ReduceAxes& axes) {
  ReducePlan plan;
  // Takes axes[at] and those before it that continue it, as one group.
  const auto take = [&](int at, i64& size, i64& stride, ReduceAxes* taken) {
    const bool reduced = axes[at].reduced;
    size = 1;
    for (; at >= 0 && axes[at].reduced == reduced && (size == 1 || axes[at].stride == size * stride); --at) {
      if (size == 1) stride = axes[at].stride;
      size *= axes[at].size;
      if (taken) taken->insert(0, axes[at]);
      axes.erase(at);
    }
  };
  ReduceAxes inner;
  if (!axes.empty() && !axes.back().reduced) take(axes.size() - 1, plan.inner, plan.inner_stride, &inner);
  int last = axes.size() - 1;
  while (last >= 0 && !axes[last].reduced) --last;
  if (last >= 0) take(last, plan.count, plan.count_stride, nullptr);
  plan.outer.rank = std::max(axes.size(), 1);
  for (int i = 0; i < axes.size(); ++i) {
    plan.outer.sizes[i] = axes[i].size;
    plan.outer.strides[0][i] = axes[i].stride;
  }
  merge_axes(plan.outer);

  for (const ReduceAxis& a : inner) axes.push_back(a);
  i64 stride = 1;
  for (int i = axes.size() - 1; i >= 0; --i) {
    ReduceAxis a = axes[i];
    a.stride = stride;
    axes[i] = a;
    stride *= a.size;
  }
  return plan;
}

Tensor detail::in_logical_order(const Tensor& y, const ReduceAxes& axes, const Shape& shape) {
  bool ordered = true;
  for (int i = 1; i < axes.size(); ++i) ordered &= axes[i - 1].axis < axes[i].axis;
  Strides strides = row_major(shape);
  if (!ordered) {
    // The axes longer than 1, in logical order on either side; a stride of 0 stands for no axis (or no elements).
    i64 stride_of[kMaxRank] = {};
    for (const ReduceAxis& a : axes) stride_of[a.axis] = a.stride;
    int to = 0;
    for (const i64 stride : stride_of) {
      if (stride == 0) continue;
      while (shape[to] == 1) ++to;
      strides[to++] = stride;
    }
  }
  y.mutable_body().shape = shape;
  y.mutable_body().strides = strides;
  no_grad guard;
  return contiguous(y);
}

}  // namespace moegrad

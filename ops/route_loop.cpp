#include "ops/route_loop.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/cast.h"
#include "ops/views.h"

namespace moegrad::detail {

Axes kernel_order(const Labels& labels) {
  Axes order;
  for (int i = 0; i < labels.size(); ++i) order.push_back(i);
  const auto key = [&](int i) { return is_class(labels[i]) ? kFeature / 2 + ~labels[i] : labels[i]; };
  std::sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
  return order;
}
Axes inverse_of(const Axes& order) {
  Axes y(order.size(), 0);
  for (int i = 0; i < order.size(); ++i) y[order[i]] = i;
  return y;
}
Labels pick(const Labels& labels, const Axes& order) {
  Labels y;
  for (int i : order) y.push_back(labels[i]);
  return y;
}

Operand operand_of(const Tensor& x_any, const Labels& labels_any) {
  const Axes order = kernel_order(labels_any);
  Operand o{.x = permute(x_any, order), .labels = pick(labels_any, order)};
  const auto merge = [&o] {  // false if the features do not lie one behind the other
    o.features = 1, o.feature_stride = 1;
    bool first = true;
    for (int i = o.x.rank() - 1; i >= 0 && !is_row(o.labels[i]) && !is_class(o.labels[i]); --i) {
      const i64 n = o.x.shape()[i], stride = o.x.strides()[i];
      if (n == 1) continue;
      if (!first && stride != o.feature_stride * o.features) return false;
      if (first) o.feature_stride = stride;
      first = false;
      o.features *= n;
    }
    return true;
  };
  if (!merge()) {
    o.x = contiguous(o.x);
    merge();
  }
  return o;
}

void check_operand(const char* op, const Routes& r, const Tensor& x, const Labels& labels) {
  if (r.classes().rank() > 0) check_same_device(op, x, r.index(0));
  bool fits = x.rank() == labels.size();
  for (int i = 0; fits && i < labels.size(); ++i) {
    const int l = labels[i];
    if (is_row(l)) fits = l < r.rows().rank() && x.shape()[i] == r.rows()[l];
    if (is_class(l)) fits = ~l < r.classes().rank() && x.shape()[i] == r.classes()[~l];
  }
  if (!fits)
    throw ShapeError(
        fmt::format("{}: axes must have the sizes of their rows and classes; got x {} for rows {} and classes {}", op,
                    to_string(x.shape()), to_string(r.rows()), to_string(r.classes())));
}

namespace {

i64 stride_of(const Tensor& x, const Labels& labels, int label) {
  const int at = labels.find(label);
  return at < 0 ? 0 : x.strides()[at];
}

}  // namespace

RouteLoop loop_of(const Routes& r, const Operand& x, const Tensor& y, const Labels& y_labels, const Tensor& scale) {
  RouteLoop loop;
  Axes order;
  for (int a = 0; a < r.rows().rank(); ++a)
    if (y_labels.contains(a)) order.push_back(a);
  loop.outer = order.size();
  for (int a = 0; a < r.rows().rank(); ++a)
    if (!y_labels.contains(a)) order.push_back(a);
  loop.axes = order.size();
  loop.classes = r.classes().rank();
  for (int i = 0; i < loop.axes; ++i) {
    const int a = order[i];
    loop.size[i] = r.rows()[a];
    loop.x[i] = stride_of(x.x, x.labels, a);
    loop.y[i] = stride_of(y, y_labels, a);
    loop.scale[i] = scale ? scale.strides()[a] : 0;
    for (int j = 0; j < loop.classes; ++j) loop.index_stride[j][i] = r.index(j).strides()[a];
  }
  for (int j = 0; j < loop.classes; ++j) {
    loop.index[j] = r.index(j).data<i64>();
    loop.x_class[j] = stride_of(x.x, x.labels, ~j);
    loop.y_class[j] = stride_of(y, y_labels, ~j);
  }
  loop.features = x.features;
  loop.x_feature = x.feature_stride;
  return loop;
}

Destination destination_of(const Routes& r, const Labels& y_labels) {
  Destination d;
  for (int l : y_labels) {
    if (is_row(l)) d.row_mask |= u32{1} << l, d.groups *= r.rows()[l];
    if (is_class(l)) d.class_mask |= u32{1} << ~l, d.classes *= r.classes()[~l];
  }
  return d;
}

}  // namespace moegrad::detail

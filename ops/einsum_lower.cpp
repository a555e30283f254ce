#include "ops/einsum_lower.h"

#include <bit>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/integer_matmul.h"
#include "ops/matmul.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace moegrad {
namespace {

using Group = InlineList<int>;  // some labels, in the order of their axes

i64 size_of(const TermLayout& t, int label) { return t.shape[t.labels.find(label)]; }
i64 stride_of(const TermLayout& t, int label) { return t.strides[t.labels.find(label)]; }
i64 product_of(const TermLayout& t, const Group& group) {
  i64 n = 1;
  for (int l : group) n *= size_of(t, l);
  return n;
}
void append(Group& to, const Group& more) {
  for (int l : more) to.push_back(l);
}
TermLayout layout_of(const EinsumTerm& t) { return {t.labels, t.x.shape(), t.x.strides()}; }

// ---- two dense terms: one batched matrix product

// The axes of `group` that lie one behind the other at the inner end are `inner`; those before are `outer`.
struct Split {
  Group outer, inner;
};
Split split_by_layout(const TermLayout& t, Group group) {
  std::stable_sort(group.begin(), group.end(), [&](int a, int b) { return stride_of(t, a) > stride_of(t, b); });
  Split s;
  int first = group.size();
  while (first > 0) {
    const bool joins = first == group.size() ||
                       stride_of(t, group[first - 1]) == stride_of(t, group[first]) * size_of(t, group[first]);
    if (!joins) break;
    --first;
  }
  for (int i = 0; i < group.size(); ++i) (i < first ? s.outer : s.inner).push_back(group[i]);
  return s;
}

// As split_by_layout, but all axes are inner, which copies t, where a batch would be of thin products: below
// kThinProduct rows BLAS spends more on packing the other operand, once per product, than a copy of t costs.
Split split_for_product(const TermLayout& t, const Group& group, const TermLayout& other) {
  constexpr i64 kThinProduct = 64;
  Split s = split_by_layout(t, group);
  const i64 products = product_of(t, s.outer);
  if (products > 1 && product_of(t, s.inner) < kThinProduct && other.shape.elements() > t.shape.elements() / products)
    return {{}, group};
  return s;
}

// The axes of t in the order batch, then the groups as one axis each; batch labels that t lacks have size 1.
Arrangement arrange(const TermLayout& t, const Group& batch, std::initializer_list<Group> groups) {
  Arrangement y;
  Shape permuted;
  const auto take = [&](int at) {
    y.moves |= y.order.size() != at;
    y.order.push_back(at);
    permuted.push_back(t.shape[at]);
  };
  for (int l : batch) {
    const int at = t.labels.find(l);
    if (at >= 0) take(at);
    y.shape.push_back(at >= 0 ? t.shape[at] : 1);
  }
  for (const Group& g : groups) {
    for (int l : g) take(t.labels.find(l));
    y.shape.push_back(product_of(t, g));
  }
  y.reshapes = permuted != y.shape;
  return y;
}

// The labels of t without those of `axes`; what is left of it is contiguous.
TermLayout without(const TermLayout& t, const Axes& axes) {
  if (axes.empty()) return t;
  TermLayout y;
  for (int i = 0; i < t.labels.size(); ++i)
    if (!axes.contains(i)) y.labels.push_back(t.labels[i]), y.shape.push_back(t.shape[i]);
  y.strides = row_major(y.shape);
  return y;
}
Axes summed_alone(const TermLayout& t, LabelSet keep) {
  Axes axes;
  for (int i = 0; i < t.labels.size(); ++i)
    if (!(keep & bit(t.labels[i]))) axes.push_back(i);
  return axes;
}

void lower_matmul(DenseStep& s, const TermLayout& a, const TermLayout& b, LabelSet keep) {
  Group shared, summed, only_a, only_b;
  for (int l : a.labels) (!b.labels.contains(l) ? only_a : keep & bit(l) ? shared : summed).push_back(l);
  for (int l : b.labels)
    if (!a.labels.contains(l)) only_b.push_back(l);
  const Split rows = split_for_product(a, only_a, b), columns = split_for_product(b, only_b, a);
  // summed axes in the order in which the larger operand holds them
  const TermLayout& larger = a.shape.elements() >= b.shape.elements() ? a : b;
  std::stable_sort(summed.begin(), summed.end(),
                   [&](int p, int q) { return stride_of(larger, p) > stride_of(larger, q); });
  Group batch = shared;
  append(batch, rows.outer);
  append(batch, columns.outer);
  s.a = arrange(a, batch, {rows.inner, summed});
  s.b = arrange(b, batch, {summed, columns.inner});
  s.result.labels = batch;
  append(s.result.labels, rows.inner);
  append(s.result.labels, columns.inner);
  for (int l : s.result.labels) s.result.shape.push_back(a.labels.contains(l) ? size_of(a, l) : size_of(b, l));
  s.reshapes = rows.inner.size() != 1 || columns.inner.size() != 1;
}

// Nothing is summed between the two: an elementwise product with broadcasting.
void lower_elementwise(DenseStep& s, const TermLayout& a, const TermLayout& b, const Group& order) {
  s.gemm = false;
  s.result.labels = order;
  s.a = arrange(a, order, {});
  s.b = arrange(b, order, {});
  for (int l : order) s.result.shape.push_back(a.labels.contains(l) ? size_of(a, l) : size_of(b, l));
}

EinsumTerm contract_dense(const EinsumTerm& a, const EinsumTerm& b, LabelSet keep) {
  const DenseStep step = lower_dense(layout_of(a), layout_of(b), keep);
  return {run(step, a.x, b.x), step.result.labels};
}

// ---- a structured one-hot and a dense term: values move along routes

// Feature axes of x before the innermost run become row axes of the routes, so that x is read as it lies.
struct Along {
  RoutesRef routes;
  Tensor scale;
  LabelSet letters = 0;  // of either operand
  int role[64];          // of a letter: row, class or feature label
  void give(int letter, int label) { letters |= bit(letter), role[letter] = label; }
};
Along along_routes(const EinsumTerm& hot, const EinsumTerm& x) {
  const OneHot& h = *one_hot_of(hot.x);
  Along along{.routes = h.routes(), .scale = h.scale()};
  for (int i = 0; i < hot.labels.size(); ++i) along.give(hot.labels[i], h.axes()[i]);
  Group features;
  for (int l : x.labels)
    if (!(along.letters & bit(l))) features.push_back(l);
  const Split split = split_by_layout(layout_of(x), features);
  int next = kFeature;
  for (int l : split.inner) along.give(l, next++);
  if (split.outer.empty()) return along;

  Shape rows = h.routes()->rows();
  const Labels own = all_axes(rows);
  for (int l : split.outer) {
    along.give(l, rows.rank());
    rows.push_back(x.x.shape()[x.labels.find(l)]);
  }
  std::vector<Tensor> index;
  for (int j = 0; j < h.routes()->classes().rank(); ++j) index.push_back(lift_to_rows(h.routes()->index(j), own, rows));
  along.routes = std::make_shared<Routes>(rows, std::move(index), h.routes()->classes());
  if (along.scale) along.scale = lift_to_rows(along.scale, own, rows);
  return along;
}

EinsumTerm contract_routes(const EinsumTerm& hot, EinsumTerm x, LabelSet keep, DType value) {
  const OneHot& h = *one_hot_of(hot.x);
  x = sum_out(x, keep | hot.set(), value);
  bool stays = is_float(value);  // x only rescales routes and every class is kept: still structured
  for (int i = 0; i < hot.labels.size(); ++i) stays &= h.axes()[i] >= 0 || (keep & bit(hot.labels[i])) != 0;
  Labels labels;
  for (int l : x.labels) {
    const int at = hot.labels.find(l);
    stays &= at >= 0 && h.axes()[at] >= 0;
    if (at >= 0) labels.push_back(h.axes()[at]);
  }
  if (stays) return sum_out({h.scaled(x.x, labels), hot.labels}, keep, value);

  const Along along = along_routes(hot, x);
  Labels lx, ly;
  EinsumTerm y;
  for (int l : x.labels) lx.push_back(along.role[l]);
  for (LabelSet left = along.letters & keep; left; left &= left - 1) {
    y.labels.push_back(std::countr_zero(left));
    ly.push_back(along.role[y.labels.back()]);
  }
  y.x = route_sum(along.routes, along.scale, x.x, lx, ly);
  return y;
}

// ---- two structured one-hots over distinct classes: one table with both

bool can_join(const EinsumTerm& a, const EinsumTerm& b) {
  const OneHot &p = *one_hot_of(a.x), &q = *one_hot_of(b.x);
  if (p.routes()->classes().rank() + q.routes()->classes().rank() > kMaxClassAxes) return false;
  for (int i = 0; i < a.labels.size(); ++i) {
    const int at = b.labels.find(a.labels[i]);
    if (at >= 0 && (p.axes()[i] < 0 || q.axes()[at] < 0)) return false;
  }
  return true;
}

EinsumTerm join(const EinsumTerm& a, const EinsumTerm& b, LabelSet keep, DType value) {
  const OneHot &p = *one_hot_of(a.x), &q = *one_hot_of(b.x);
  const Labels own = all_axes(p.routes()->rows());
  Shape rows = p.routes()->rows(), classes = p.routes()->classes();
  Labels axes = p.axes(), to(q.routes()->rows().rank(), -1);  // row axis of q -> row axis of the join
  EinsumTerm y{.x = {}, .labels = a.labels};
  for (int i = 0; i < b.labels.size(); ++i) {
    const int role = q.axes()[i], at = a.labels.find(b.labels[i]);
    if (role >= 0) to[role] = at >= 0 ? p.axes()[at] : rows.rank();
    if (role >= 0 && at < 0) rows.push_back(q.routes()->rows()[role]);
    if (at >= 0) continue;
    axes.push_back(role >= 0 ? to[role] : ~(~role + p.routes()->classes().rank()));
    y.labels.push_back(b.labels[i]);
  }
  for (int r = 0; r < to.size(); ++r)
    if (to[r] < 0) to[r] = rows.rank(), rows.push_back(q.routes()->rows()[r]);  // hidden in q: hidden in the join
  std::vector<Tensor> index;
  for (int j = 0; j < p.routes()->classes().rank(); ++j) index.push_back(lift_to_rows(p.routes()->index(j), own, rows));
  for (int j = 0; j < q.routes()->classes().rank(); ++j) {
    index.push_back(lift_to_rows(q.routes()->index(j), to, rows));
    classes.push_back(q.routes()->classes()[j]);
  }
  Tensor scale = p.scale() ? lift_to_rows(p.scale(), own, rows) : Tensor{};
  if (q.scale()) scale = scale ? scale * lift_to_rows(q.scale(), to, rows) : lift_to_rows(q.scale(), to, rows);
  const DType dtype = scale ? scale.dtype() : p.has_hidden_rows() || q.has_hidden_rows() ? DType::i64 : DType::boolean;
  y.x = OneHot::make(std::make_shared<Routes>(rows, std::move(index), classes), scale, axes, dtype);
  return sum_out(y, keep, value);
}

}  // namespace

Tensor Arrangement::operator()(const Tensor& x) const {
  const Tensor moved = moves ? permute(x, order) : x;
  return reshapes ? reshape(moved, shape) : moved;
}

DenseStep lower_dense(TermLayout a, TermLayout b, LabelSet keep, const InlineList<int>& wanted) {
  DenseStep s;
  s.sum_a = summed_alone(a, keep | set_of(b.labels));
  s.sum_b = summed_alone(b, keep | set_of(a.labels));
  a = without(a, s.sum_a);
  b = without(b, s.sum_b);
  if ((set_of(a.labels) & set_of(b.labels) & ~keep) != 0) {
    // The last axis of a matrix product is one of its right operand.
    s.swapped = !wanted.empty() && a.labels.contains(wanted.back()) && !b.labels.contains(wanted.back());
    if (s.swapped) {
      std::swap(a, b);
      std::swap(s.sum_a, s.sum_b);
    }
    lower_matmul(s, a, b, keep);
  } else {
    Group order = a.labels;
    for (int l : b.labels)
      if (!order.contains(l)) order.push_back(l);
    lower_elementwise(s, a, b, wanted.empty() ? order : wanted);
  }
  s.result.strides = row_major(s.result.shape);
  return s;
}

Tensor run(const DenseStep& s, const Tensor& a_any, const Tensor& b_any) {
  const Tensor &first = s.swapped ? b_any : a_any, &second = s.swapped ? a_any : b_any;
  const Tensor a = s.a(s.sum_a.empty() ? first : sum(first, s.sum_a)),
               b = s.b(s.sum_b.empty() ? second : sum(second, s.sum_b));
  if (!s.gemm) return a * b;
  const Tensor y = is_float(a.dtype()) ? matmul(a, b) : integer_matmul(a, b);
  return s.reshapes ? reshape(y, s.result.shape) : y;
}

EinsumTerm sum_out(EinsumTerm t, LabelSet keep, DType value) {
  Axes axes;
  InlineList<int> left;
  for (int i = 0; i < t.labels.size(); ++i) {
    if (keep & bit(t.labels[i]))
      left.push_back(t.labels[i]);
    else
      axes.push_back(i);
  }
  if (!axes.empty()) t = {sum(t.x, axes), left};
  if (!one_hot_of(t.x)) t.x = cast(t.x, value);
  return t;
}

EinsumTerm contract(EinsumTerm a, EinsumTerm b, LabelSet keep, DType value) {
  if (one_hot_of(a.x) && one_hot_of(b.x)) {
    if (can_join(a, b)) return join(a, b, keep, value);
    EinsumTerm& smaller = a.x.size() >= b.x.size() ? b : a;  // a class meets a row or a class: one of them as values
    smaller.x = dense(cast(smaller.x, value));
  }
  if (one_hot_of(a.x)) return contract_routes(a, b, keep, value);
  if (one_hot_of(b.x)) return contract_routes(b, a, keep, value);
  return contract_dense(a, b, keep);
}

}  // namespace moegrad

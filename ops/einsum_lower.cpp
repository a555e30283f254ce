#include "ops/einsum_lower.h"

#include <map>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/matmul.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace moegrad {
namespace {

using Group = InlineList<int>;  // some labels, in the order of their axes

i64 size_of(const EinsumTerm& t, int label) { return t.x.dim(t.labels.find(label)); }
i64 stride_of(const EinsumTerm& t, int label) { return t.x.strides()[t.labels.find(label)]; }
i64 product_of(const EinsumTerm& t, const Group& group) {
  i64 n = 1;
  for (int l : group) n *= size_of(t, l);
  return n;
}
void append(Group& to, const Group& more) {
  for (int l : more) to.push_back(l);
}

// ---- two dense terms: one batched matrix product

// The axes of `group` that lie one behind the other at the inner end are `inner`; those before are `outer`.
struct Split {
  Group outer, inner;
};
Split split_by_layout(const EinsumTerm& t, Group group) {
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

// As split_by_layout, but all axes are inner (which copies t) where a batch would repeat the other operand for more
// than a copy costs.
Split split_for_product(const EinsumTerm& t, const Group& group, const EinsumTerm& other) {
  Split s = split_by_layout(t, group);
  if (product_of(t, s.outer) > 1 && product_of(t, s.outer) * other.x.size() > t.x.size()) return {{}, group};
  return s;
}

// The axes of t in the order batch, then the groups as one axis each; batch labels that t lacks have size 1.
Tensor arranged(const EinsumTerm& t, const Group& batch, const Group& rows, const Group& columns) {
  Axes order;
  Shape shape;
  for (int l : batch) {
    const int at = t.labels.find(l);
    if (at >= 0) order.push_back(at);
    shape.push_back(at >= 0 ? t.x.dim(at) : 1);
  }
  for (const Group* g : {&rows, &columns}) {
    for (int l : *g) order.push_back(t.labels.find(l));
    shape.push_back(product_of(t, *g));
  }
  return reshape(permute(t.x, order), shape);
}

EinsumTerm dense_product(const EinsumTerm& a, const EinsumTerm& b, LabelSet keep) {
  Group shared, summed, only_a, only_b;
  for (int l : a.labels) (!b.labels.contains(l) ? only_a : keep & bit(l) ? shared : summed).push_back(l);
  for (int l : b.labels)
    if (!a.labels.contains(l)) only_b.push_back(l);
  const Split rows = split_for_product(a, only_a, b), columns = split_for_product(b, only_b, a);
  // summed axes in the order in which the larger operand holds them
  const EinsumTerm& larger = a.x.size() >= b.x.size() ? a : b;
  std::stable_sort(summed.begin(), summed.end(),
                   [&](int p, int q) { return stride_of(larger, p) > stride_of(larger, q); });
  Group batch = shared;
  append(batch, rows.outer);
  append(batch, columns.outer);
  const Tensor y = matmul(arranged(a, batch, rows.inner, summed), arranged(b, batch, summed, columns.inner));
  EinsumTerm result{.x = {}, .labels = batch};
  append(result.labels, rows.inner);
  append(result.labels, columns.inner);
  Shape shape;
  for (int l : result.labels) shape.push_back(a.labels.contains(l) ? size_of(a, l) : size_of(b, l));
  result.x = reshape(y, shape);
  return result;
}

// Nothing is summed between the two: an elementwise product with broadcasting.
EinsumTerm elementwise_product(const EinsumTerm& a, const EinsumTerm& b) {
  EinsumTerm result{.x = {}, .labels = a.labels};
  for (int l : b.labels)
    if (!result.labels.contains(l)) result.labels.push_back(l);
  const auto spread = [&](const EinsumTerm& t) {
    Axes order;
    Shape shape;
    for (int l : result.labels) {
      const int at = t.labels.find(l);
      if (at >= 0) order.push_back(at);
      shape.push_back(at >= 0 ? t.x.dim(at) : 1);
    }
    return reshape(permute(t.x, order), shape);
  };
  result.x = spread(a) * spread(b);
  return result;
}

EinsumTerm contract_dense(EinsumTerm a, EinsumTerm b, LabelSet keep, DType value) {
  a = sum_out(a, keep | b.set(), value);
  b = sum_out(b, keep | a.set(), value);
  if ((a.set() & b.set() & ~keep) == 0) return elementwise_product(a, b);
  return dense_product(a, b, keep);
}

// ---- a structured one-hot and a dense term: values move along routes

// Feature axes of x before the innermost run become row axes of the routes, so that x is read as it lies.
struct Along {
  RoutesRef routes;
  Tensor scale;
  std::map<int, int> role;  // letter -> row, class or feature label
};
Along along_routes(const EinsumTerm& hot, const EinsumTerm& x) {
  const OneHot& h = *one_hot_of(hot.x);
  Along along{h.routes(), h.scale(), {}};
  for (int i = 0; i < hot.labels.size(); ++i) along.role[hot.labels[i]] = h.axes()[i];
  Group features;
  for (int l : x.labels)
    if (!along.role.contains(l)) features.push_back(l);
  const Split split = split_by_layout(x, features);
  int next = kFeature;
  for (int l : split.inner) along.role[l] = next++;
  if (split.outer.empty()) return along;

  Shape rows = h.routes()->rows();
  const Labels own = all_axes(rows);
  for (int l : split.outer) {
    along.role[l] = rows.rank();
    rows.push_back(size_of(x, l));
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
  bool stays = true;  // x only rescales routes and every class is kept: still structured
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
  for (int l : x.labels) lx.push_back(along.role.at(l));
  for (const auto& [letter, label] : along.role)
    if (keep & bit(letter)) y.labels.push_back(letter), ly.push_back(label);
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
  return contract_dense(std::move(a), std::move(b), keep, value);
}

}  // namespace moegrad

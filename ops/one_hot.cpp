#include "ops/one_hot.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/indices.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {
namespace {

thread_local i64 made_dense = 0;

Labels row_labels(const Shape& rows) {
  Labels y;
  for (int i = 0; i < rows.rank(); ++i) y.push_back(i);
  return y;
}

}  // namespace

RoutesRef detail::checked_routes(const char* op, const Tensor& index_any, i64 n) {
  if (!is_int(index_any.dtype())) throw_dtype(op, "i64 or i32 (an index)", index_any.dtype());
  if (n < 0) throw ShapeError(fmt::format("{}: n must be >= 0; got {}", op, n));
  const Tensor index = checked_index(op, index_any, {-1, n});
  return std::make_shared<const Routes>(index.shape(), std::vector<Tensor>{index}, Shape{n});
}

Tensor one_hot(const Tensor& index, i64 n) {
  if (index.rank() + 1 > kMaxRank) throw_rank_too_large(index.rank() + 1);
  const RoutesRef routes = detail::checked_routes("one_hot", index, n);
  Labels axes = row_labels(routes->rows());
  axes.push_back(~0);
  return OneHot::make(routes, {}, axes, DType::boolean);
}

i64 times_made_dense() { return made_dense; }

OneHot::OneHot(RoutesRef routes, Tensor scale, Labels axes, DType dtype)
    : routes_(std::move(routes)), scale_(std::move(scale)), axes_(axes), dtype_(dtype) {}

Tensor OneHot::make(RoutesRef routes, Tensor scale, Labels axes, DType dtype) {
  auto* body = new TensorBody;
  Tensor y{Ref<TensorBody>(body)};
  auto* hot = new OneHot(std::move(routes), std::move(scale), axes, dtype);
  body->structure = Ref<Structure>(hot);
  body->dtype = dtype;
  body->device = hot->routes_->index(0).device();
  body->shape = hot->shape();
  body->strides = row_major(body->shape);
  return y;
}

Shape OneHot::shape() const {
  Shape s;
  for (int a : axes_) s.push_back(a >= 0 ? routes_->rows()[a] : routes_->classes()[~a]);
  return s;
}

bool OneHot::has_hidden_rows() const {
  for (int a = 0; a < routes_->rows().rank(); ++a)
    if (!axes_.contains(a)) return true;
  return false;
}

// ---- dense form

namespace {

// The values of a structured tensor, element by element.
Tensor values_of(const OneHot& h) {
  const DType value = h.scale() ? h.dtype() : DType::f64;
  const Tensor y = route_sum(h.routes(), h.scale(), scalar(1, value, h.routes()->index(0).device()), {}, h.axes());
  return contiguous(h.scale() ? y : cast(y, h.dtype()));
}

}  // namespace

Tensor OneHot::dense() const {
  if (twin_) return twin_;
  ++made_dense;
  Recording on(true);  // a twin made under no_grad and read again under grad must not have lost the gate's gradient
  twin_ = values_of(*this);
  return twin_;
}

Tensor OneHot::detach() const { return make(routes_, scale_ ? scale_.detach() : Tensor{}, axes_, dtype_); }

namespace {

// Which axis of the table each visible axis is, unless they stand in the table's order: "; axes class 0, row 1".
std::string describe_axes(const Labels& axes, int rows) {
  std::string s;
  bool in_order = true;
  for (int i = 0; i < axes.size(); ++i) {
    in_order &= axes[i] == (i < rows ? i : ~(i - rows));
    s +=
        fmt::format("{}{} {}", i ? ", " : "; axes ", axes[i] >= 0 ? "row" : "class", axes[i] >= 0 ? axes[i] : ~axes[i]);
  }
  return in_order ? "" : s;
}

i64 count_empty(const Routes& routes) {
  std::vector<bool> empty(static_cast<std::size_t>(routes.rows().elements()));
  for (int j = 0; j < routes.classes().rank(); ++j) {
    const std::vector<i64> index = routes.index(j).to_vector<i64>();
    for (std::size_t i = 0; i < empty.size(); ++i)
      if (index[i] < 0) empty[i] = true;
  }
  return std::count(empty.begin(), empty.end(), true);
}

}  // namespace

std::string OneHot::describe() const {
  std::string notes = describe_axes(axes_, routes_->rows().rank());
  for (int r = 0; r < routes_->rows().rank(); ++r)
    if (!axes_.contains(r)) notes += fmt::format("; summed over row {}", r);
  if (const i64 empty = count_empty(*routes_)) notes += fmt::format("; {} empty", empty);
  return fmt::format("{}one_hot(rows {}, classes {}{})", scale_ ? "scale * " : "", to_string(routes_->rows()),
                     to_string(routes_->classes()), notes);
}

// ---- ops that keep the structure

Tensor lift_to_rows(const Tensor& x, const Labels& labels, const Shape& rows) {
  Axes order = all_axes(x.shape());
  std::sort(order.begin(), order.end(), [&](int a, int b) { return labels[a] < labels[b]; });
  Shape one(rows.rank(), 1);
  for (int i = 0; i < labels.size(); ++i) one[labels[i]] = x.shape()[i];
  return expand(reshape(permute(x, order), one), rows);
}

Tensor OneHot::permute(const Axes& axes) const {
  Labels y;
  for (int a : axes) y.push_back(axes_[a]);
  return make(routes_, scale_, y, dtype_);
}

namespace {

// What a structured tensor is made of, to be changed and put together again.
struct Table {
  std::vector<Tensor> index;
  Tensor scale;
  Shape rows;
  template <class Fn> void each(Fn&& f) {
    for (Tensor& t : index) t = f(t);
    if (scale) scale = f(scale);
  }
};
Table table_of(const OneHot& h) {
  Table t{.index = {}, .scale = h.scale(), .rows = h.routes()->rows()};
  for (int j = 0; j < h.routes()->classes().rank(); ++j) t.index.push_back(h.routes()->index(j));
  return t;
}
Tensor rebuild(Table t, const OneHot& h, const Labels& axes) {
  return OneHot::make(std::make_shared<Routes>(t.rows, std::move(t.index), h.routes()->classes()), t.scale, axes,
                      h.dtype());
}

// What the axes of `shape` are when a structured tensor is read under it: rows between two class axes are cut anew
// (numbered from 0), class axes stay; nullopt where a class axis would have to change.
std::optional<Labels> match_classes(const OneHot& h, const Shape& shape) {
  Labels y;
  int at = 0, next_row = 0;
  const auto take = [&] { y.push_back(next_row++), ++at; };
  i64 product = 1;
  const Shape old = h.shape();
  for (int i = 0; i <= old.rank(); ++i) {
    const bool end = i == old.rank(), is_class = !end && h.axes()[i] < 0;
    if (!end && !is_class) product *= old[i];
    if (!end && !is_class) continue;
    i64 have = 1;
    while (at < shape.rank() && (have != product || (shape[at] == 1 && (end || old[i] != 1))))
      have *= shape[at], take();
    if (have != product) return std::nullopt;
    if (is_class) {
      if (at >= shape.rank() || shape[at] != old[i]) return std::nullopt;
      y.push_back(h.axes()[i]), ++at;
    }
    product = 1;
  }
  return at == shape.rank() ? std::optional(y) : std::nullopt;
}

}  // namespace

Tensor OneHot::reshape(const Shape& shape) const {
  if (shape.elements() == 0) return {};
  const std::optional<Labels> axes = match_classes(*this, shape);
  if (!axes) return {};
  Axes order;  // visible rows as they are seen, hidden ones behind
  for (int a : axes_)
    if (a >= 0) order.push_back(a);
  for (int a = 0; a < routes_->rows().rank(); ++a)
    if (!axes_.contains(a)) order.push_back(a);
  Shape rows;
  for (int i = 0; i < axes->size(); ++i)
    if ((*axes)[i] >= 0) rows.push_back(shape[i]);
  for (int a : order)
    if (!axes_.contains(a)) rows.push_back(routes_->rows()[a]);
  Table t = table_of(*this);
  t.each([&](const Tensor& x) { return moegrad::reshape(moegrad::permute(x, order), rows); });
  t.rows = rows;
  return rebuild(std::move(t), *this, *axes);
}

Tensor OneHot::expand(const Shape& shape) const {
  const Shape own = this->shape();
  const int extra = shape.rank() - own.rank();
  for (int i = 0; i < own.rank(); ++i)
    if (axes_[i] < 0 && own[i] != shape[i + extra]) return {};
  Table t = table_of(*this);
  Labels axes;
  for (int i = 0; i < shape.rank(); ++i) {
    const int a = i < extra ? t.rows.rank() : axes_[i - extra];
    if (i < extra) t.rows.push_back(1);  // a new row axis, behind the others
    if (a >= 0) t.rows[a] = shape[i];
    axes.push_back(a);
  }
  t.each([&](const Tensor& x) {
    Shape one = x.shape();
    while (one.rank() < t.rows.rank()) one.push_back(1);
    return moegrad::expand(moegrad::reshape(x, one), t.rows);
  });
  return rebuild(std::move(t), *this, axes);
}

Tensor OneHot::slice(int axis, i64 begin, i64 count, i64 step) const {
  const int a = axes_[axis];
  if (a < 0 || count == 0) return {};
  const i64 stop = begin + (count - 1) * step + (step > 0 ? 1 : -1);
  Table t = table_of(*this);
  t.each([&](const Tensor& x) { return moegrad::slice(x, a, {begin, stop < 0 ? kEnd : stop, step}); });
  t.rows[a] = count;
  return rebuild(std::move(t), *this, axes_);
}

// A summed axis is no longer named. Where no row axis is left, what remains is small, such as a load count: plain
// values.
Tensor OneHot::sum(const Axes& axes, bool keep) const {
  Labels left;
  Shape kept = shape();
  for (int i = 0; i < axes_.size(); ++i) {
    if (!axes.contains(i))
      left.push_back(axes_[i]);
    else
      kept[i] = 1;
  }
  const DType dtype = dtype_ == DType::boolean ? DType::i64 : dtype_;
  Tensor y = make(routes_, scale_, left, dtype);
  const bool rows = std::any_of(left.begin(), left.end(), [](int a) { return a >= 0; });
  const bool classes = std::any_of(left.begin(), left.end(), [](int a) { return a < 0; });
  if (!rows || !classes) y = values_of(*one_hot_of(y));
  return keep ? moegrad::reshape(y, kept) : y;
}

Tensor OneHot::scaled(const Tensor& factor_any, const Labels& labels) const {
  Tensor factor = factor_any;
  Labels rows = labels;
  if (std::any_of(labels.begin(), labels.end(), [](int l) { return l < 0; })) {  // gathered at each row's class
    rows = {};
    for (int r = 0; r < routes_->rows().rank(); ++r) rows.push_back(r);
    factor = route_sum(routes_, {}, factor, labels, rows);
  }
  const Tensor lifted = lift_to_rows(factor, rows, routes_->rows());
  return make(routes_, scale_ ? scale_ * lifted : lifted, axes_, lifted.dtype());
}

Tensor OneHot::mul(const Tensor& other) const {
  if (!is_float(other.dtype()) || (scale_ && scale_.dtype() != other.dtype())) return {};
  const Shape both = broadcast("mul", shape(), other.shape());
  if (both != shape()) {
    const Tensor wide = expand(both);
    return wide ? one_hot_of(wide)->mul(other) : Tensor{};
  }
  Labels labels;  // of the axes along which `other` really varies
  Shape sizes;
  const int extra = axes_.size() - other.rank();
  for (int i = 0; i < other.rank(); ++i) {
    if (other.shape()[i] == 1) continue;
    labels.push_back(axes_[i + extra]);
    sizes.push_back(other.shape()[i]);
  }
  return scaled(moegrad::reshape(other, sizes), labels);
}

Tensor OneHot::cast(DType dtype) const {
  if (!is_float(dtype) || (scale_ && !is_float(dtype_))) return {};
  if (scale_) return make(routes_, moegrad::cast(scale_, dtype), axes_, dtype);
  return make(routes_, moegrad::expand(scalar(1, dtype, routes_->index(0).device()), routes_->rows()), axes_, dtype);
}

Tensor OneHot::to(Device device) const {
  std::vector<Tensor> index;
  for (int j = 0; j < routes_->classes().rank(); ++j) index.push_back(routes_->index(j).to(device));
  return make(std::make_shared<const Routes>(routes_->rows(), std::move(index), routes_->classes()),
              scale_ ? scale_.to(device) : Tensor{}, axes_, dtype_);
}

}  // namespace moegrad

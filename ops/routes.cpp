#include "ops/routes.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/route_loop.h"
#include "ops/views.h"

namespace moegrad {

using namespace detail;

Routes::Routes(Shape rows, std::vector<Tensor> index, Shape classes)
    : rows_(std::move(rows)), classes_(classes), index_(std::move(index)) {}

// ---- forward and gradient

namespace {

// Rows are copied as they are stored: bool and bf16 as their bits, which are never added.
template <class T> void run_route_copy(const RouteLoop& loop, const Tensor& x, const Tensor& y) {
  using Wide = std::conditional_t<std::is_same_v<T, bf16>, std::uint16_t, T>;
  using F = std::conditional_t<std::is_same_v<T, bool>, unsigned char, Wide>;
  const F *px = reinterpret_cast<const F*>(x.data<T>()), *no_scale = nullptr;
  MOEGRAD_LAUNCH(y.device(), route_gather, px, no_scale, reinterpret_cast<F*>(y.data<T>()), loop);
}

// What diagnostics say of a route op: how many rows travel, and what that costs.
struct RouteWork {
  i64 rows, features;
  double per_element;  // FLOPs
  std::string operator()() const { return fmt::format("rows = {}, features = {}", rows, features); }
  double flops() const { return per_element * static_cast<double>(rows) * static_cast<double>(features); }
};
RouteWork work_of(const Routes& r, const RouteLoop& loop, double per_element) {
  return {r.rows().elements(), loop.features, per_element};
}

template <class F>
void run_route_sum(const Routes& r, const Destination& to, const RouteLoop& loop, const Tensor& x, const Tensor& scale,
                   const Tensor& y) {
  const F *px = x.data<F>(), *ps = scale ? scale.data<F>() : nullptr;
  const auto run = [&](auto gather, auto scatter, auto scatter_inverse, auto* py) {
    if (to.gathers()) return gather(px, ps, py, loop);
    if (to.adds(r, y.device())) return scatter(px, ps, py, loop);
    const Routes::Inverse& inverse = r.inverse(to.row_mask, to.class_mask);
    scatter_inverse(px, ps, py, loop, inverse.begin.data<i64>(), inverse.order.data<i64>(), to.groups * to.classes);
  };
  if constexpr (kWithCuda)
    if (y.device() == Device::cuda)
      return run(cuda::route_gather<F>, cuda::route_scatter<F>, cuda::route_scatter_inverse<F>, y.data<F>());
  run(cpu::route_gather<F>, cpu::route_scatter<F>, cpu::route_scatter_inverse<F>, y.data<Computed<F>>());
}

}  // namespace

Tensor route_sum(const RoutesRef& routes, const Tensor& scale, const Tensor& x_any, const Labels& lx_any,
                 const Labels& ly_any) {
  check_operand("route_sum", *routes, x_any, lx_any);
  if (scale) check_same_device("route_sum", scale, x_any);
  if (scale) check_same_dtype("route_sum", scale, x_any);
  if (scale && !is_float(scale.dtype())) throw_dtype("route_sum", "f32, f64 or bf16 where it is scaled", scale.dtype());
  const Axes order = kernel_order(ly_any);
  const Labels ly = pick(ly_any, order);
  const Destination to = destination_of(*routes, ly);
  const bool copies = !scale && to.gathers() && to.keeps_rows(*routes);
  if (x_any.dtype() == DType::boolean && !copies)
    throw_dtype("route_sum", "a number where rows are added up", x_any.dtype());
  const Operand x = operand_of(x_any, lx_any);
  Shape shape;
  for (int l : ly)
    shape.push_back(is_row(l) ? routes->rows()[l] : is_class(l) ? routes->classes()[~l] : x.x.dim(x.labels.find(l)));
  const Device device = x.x.device();
  const bool widens = x.x.dtype() == DType::bf16 && !copies && device == Device::cpu;  // and is rounded at the end
  const DType sums = widens ? DType::f32 : x.x.dtype();
  Tensor y = to.adds(*routes, device) ? zeros(shape, sums, device) : empty(shape, sums, device);
  const Tensor weights = scale ? dense(scale) : Tensor{};
  const RouteLoop loop = loop_of(*routes, x, y, ly, weights);
  if (copies)
    with_any(y.dtype(), [&]<class T>() { run_route_copy<T>(loop, x.x, y); });
  else
    with_number("route_sum", x.x.dtype(), [&]<class T>() { run_route_sum<T>(*routes, to, loop, x.x, weights, y); });
  y = cast(y, x.x.dtype());
  const Labels lx = x.labels;
  if (scale)
    y = record(
        "route_sum", y, {weights, x.x}, saves_crossed(weights, x.x),
        [routes, lx, ly](const GradArgs& g) -> Grads {
          return {g.needs(0) ? route_dot(routes, g.in(1), lx, g.dy, ly) : Tensor{},
                  g.needs(1) ? route_sum(routes, g.in(0), g.dy, ly, lx) : Tensor{}};
        },
        work_of(*routes, loop, 2));
  else
    y = record(
        "route_sum", y, {x.x}, saves(kNone),
        [routes, lx, ly](const GradArgs& g) -> Grads { return {route_sum(routes, {}, g.dy, ly, lx)}; },
        work_of(*routes, loop, copies ? 0 : 1));
  return permute(y, inverse_of(order));
}

Tensor route_dot(const RoutesRef& routes, const Tensor& x_any, const Labels& lx_any, const Tensor& z_any,
                 const Labels& lz_any) {
  check_operand("route_dot", *routes, x_any, lx_any);
  check_operand("route_dot", *routes, z_any, lz_any);
  check_same_dtype("route_dot", x_any, z_any);
  const Operand x = operand_of(x_any, lx_any), z = operand_of(z_any, lz_any);
  Tensor d = empty(routes->rows(), x.x.dtype(), x.x.device());
  RouteLoop loop = loop_of(*routes, x, z.x, z.labels, {});
  loop.y_feature = z.feature_stride;
  for (int i = 0, next = 0; next < 2; ++next)  // the result has all row axes, in the loop's order
    for (int a = 0; a < routes->rows().rank(); ++a)
      if (z.labels.contains(a) == (next == 0)) loop.scale[i++] = d.strides()[a];
  with_float("route_dot", d.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(d.device(), route_dots, x.x.data<F>(), z.x.data<F>(), d.data<F>(), loop);
  });
  return record("route_dot", d, {x.x, z.x}, saves_crossed(x.x, z.x),
                [routes, lx = x.labels, lz = z.labels](const GradArgs& g) -> Grads {
                  return {g.needs(0) ? route_sum(routes, g.dy, g.in(1), lz, lx) : Tensor{},
                          g.needs(1) ? route_sum(routes, g.dy, g.in(0), lx, lz) : Tensor{}};
                });
}

// ---- CPU kernels

namespace {

// A place in the walk over rows: offsets into both operands, the scale and the index tables.
class RowCursor {
 public:
  explicit RowCursor(const RouteLoop& loop) : loop_(loop) {}
  i64 x = 0, y = 0, scale = 0;

  // Goes to row `flat` of the axes [first, last), in row-major order, keeping the others.
  void seek(i64 flat, int first, int last) {
    for (int i = last - 1; i >= first; --i) {
      move(i, flat % loop_.size[i] - at_[i]);
      flat /= loop_.size[i];
    }
  }
  void next(int first, int last) {
    for (int i = last - 1; i >= first; --i) {
      if (at_[i] + 1 < loop_.size[i]) return move(i, 1);
      move(i, -at_[i]);
    }
  }
  // Offsets of this row's route in x and y; false for an empty row.
  bool route(i64& at_x, i64& at_y) const {
    at_x = x, at_y = y;
    for (int j = 0; j < loop_.classes; ++j) {
      const i64 c = loop_.index[j][index_[j]];
      if (c < 0) return false;
      at_x += c * loop_.x_class[j];
      at_y += c * loop_.y_class[j];
    }
    return true;
  }

 private:
  void move(int axis, i64 by) {
    at_[axis] += by;
    x += by * loop_.x[axis], y += by * loop_.y[axis], scale += by * loop_.scale[axis];
    for (int j = 0; j < loop_.classes; ++j) index_[j] += by * loop_.index_stride[j][axis];
  }
  const RouteLoop& loop_;
  i64 at_[kMaxRank] = {};
  i64 index_[kMaxClassAxes] = {};
};

i64 count(const RouteLoop& loop, int first, int last) {
  i64 n = 1;
  for (int i = first; i < last; ++i) n *= loop.size[i];
  return n;
}
i64 grain_for(i64 work_per_item) { return std::max<i64>((i64{1} << 14) / std::max<i64>(work_per_item, 1), 1); }

// y = w x, or y += w x; integers wrap around
template <class F, class C> void put(C* __restrict y, const F* __restrict x, i64 step, C w, i64 n, bool add) {
  constexpr formula::Add plus;
  constexpr formula::Mul times;
  const auto at = [x](i64 i) { return static_cast<C>(x[i]); };
  if (step != 1) {
    for (i64 i = 0; i < n; ++i) y[i] = add ? plus(y[i], times(w, at(i * step))) : times(w, at(i * step));
  } else if (add) {
    for (i64 i = 0; i < n; ++i) y[i] = plus(y[i], times(w, at(i)));
  } else {
    for (i64 i = 0; i < n; ++i) y[i] = times(w, at(i));
  }
}
// The scale of a row, 1 where there is none.
template <class F> Computed<F> weight_at(const F* scale, i64 row) {
  return scale ? static_cast<Computed<F>>(scale[row]) : Computed<F>(1);
}

}  // namespace

template <class F> void cpu::route_gather(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop) {
  const i64 rows = count(loop, 0, loop.outer), summed = count(loop, loop.outer, loop.axes);
  parallel_for(rows, grain_for(summed * (loop.features + 4)), [&](i64 begin, i64 end) {
    RowCursor c(loop);
    c.seek(begin, 0, loop.outer);
    for (i64 row = begin; row < end; ++row, c.next(0, loop.outer)) {
      Computed<F>* to = y + c.y;
      bool written = false;
      for (i64 k = 0; k < summed; ++k, c.next(loop.outer, loop.axes)) {
        i64 at_x, at_y;
        if (!c.route(at_x, at_y)) continue;
        put(to, x + at_x, loop.x_feature, weight_at(scale, c.scale), loop.features, written);
        written = true;
      }
      if (!written) std::fill_n(to, loop.features, Computed<F>(0));
    }
  });
}

template <class F> void cpu::route_scatter(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop) {
  const i64 groups = count(loop, 0, loop.outer), members = count(loop, loop.outer, loop.axes);
  parallel_for(groups, grain_for(members * (loop.features + 4)), [&](i64 begin, i64 end) {
    RowCursor c(loop);
    c.seek(begin, 0, loop.outer);
    for (i64 group = begin; group < end; ++group, c.next(0, loop.outer))
      for (i64 k = 0; k < members; ++k, c.next(loop.outer, loop.axes)) {
        i64 at_x, at_y;
        if (c.route(at_x, at_y))
          put(y + at_y, x + at_x, loop.x_feature, weight_at(scale, c.scale), loop.features, true);
      }
  });
}

template <class F>
void cpu::route_scatter_inverse(const F* x, const F* scale, Computed<F>* y, const RouteLoop& loop, const i64* first,
                                const i64* order, i64 destinations) {
  const i64 rows = first[destinations];
  parallel_for(destinations, grain_for((rows / std::max<i64>(destinations, 1) + 1) * (loop.features + 16)),
               [&](i64 begin, i64 end) {
                 RowCursor c(loop);
                 for (i64 d = begin; d < end; ++d) {
                   Computed<F>* to = y + d * loop.features;
                   if (first[d] == first[d + 1]) std::fill_n(to, loop.features, Computed<F>(0));
                   for (i64 k = first[d]; k < first[d + 1]; ++k) {
                     i64 at_x, at_y;
                     c.seek(order[k], 0, loop.axes);
                     c.route(at_x, at_y);
                     put(to, x + at_x, loop.x_feature, weight_at(scale, c.scale), loop.features, k > first[d]);
                   }
                 }
               });
}

template <class F> void cpu::route_dots(const F* x, const F* y, F* d, const RouteLoop& loop) {
  parallel_for(count(loop, 0, loop.axes), grain_for(loop.features + 4), [&](i64 begin, i64 end) {
    RowCursor c(loop);
    c.seek(begin, 0, loop.axes);
    for (i64 row = begin; row < end; ++row, c.next(0, loop.axes)) {
      i64 at_x, at_y;
      using C = Computed<F>;
      C total = 0;
      if (c.route(at_x, at_y)) {
        const F *p = x + at_x, *q = y + at_y;
        const i64 sp = loop.x_feature, sq = loop.y_feature;
        if (sp == 1 && sq == 1) {
#pragma omp simd reduction(+ : total)
          for (i64 i = 0; i < loop.features; ++i) total += static_cast<C>(p[i]) * static_cast<C>(q[i]);
        } else {
          for (i64 i = 0; i < loop.features; ++i) total += static_cast<C>(p[i * sp]) * static_cast<C>(q[i * sq]);
        }
      }
      d[c.scale] = convert<F>(total);
    }
  });
}

// Rows in the order of their destinations, by a stable counting sort.
void cpu::invert_routes(const RouteLoop& loop, i64 destinations, i64* begin, i64* order) {
  const i64 rows = count(loop, 0, loop.axes);
  const auto each = [&](auto&& f) {
    RowCursor c(loop);
    i64 at_x, at_y;
    for (i64 row = 0; row < rows; ++row, c.next(0, loop.axes))
      if (c.route(at_x, at_y)) f(row, at_y);
  };
  std::fill_n(begin, destinations + 1, 0);
  each([&](i64, i64 d) { ++begin[d + 1]; });
  for (i64 d = 0; d < destinations; ++d) begin[d + 1] += begin[d];
  std::vector<i64> next(begin, begin + destinations);
  each([&](i64 row, i64 d) { order[next[static_cast<std::size_t>(d)]++] = row; });
}

// ---- the inverse

const Routes::Inverse& Routes::inverse(u32 row_mask, u32 class_mask) const {
  for (const auto& k : kept_)
    if (k->row_mask == row_mask && k->class_mask == class_mask) return k->inverse;

  // As a loop with y's strides those of the destination number. Rows are walked in the order that kernels number them:
  // axes of the destination first.
  RouteLoop loop;
  loop.classes = classes_.rank();
  i64 stride = 1;
  for (int j = loop.classes - 1; j >= 0; --j) {
    loop.index[j] = index(j).data<i64>();
    if (class_mask >> j & 1) loop.y_class[j] = stride, stride *= classes_[j];
  }
  Axes order;
  for (int pass = 1; pass >= 0; --pass)
    for (int a = 0; a < rows_.rank(); ++a)
      if (static_cast<int>(row_mask >> a & 1) == pass) order.push_back(a);
  loop.axes = order.size();
  for (int i = 0; i < loop.axes; ++i) {
    loop.size[i] = rows_[order[i]];
    for (int j = 0; j < loop.classes; ++j) loop.index_stride[j][i] = index(j).strides()[order[i]];
  }
  for (int i = loop.axes - 1; i >= 0; --i)
    if (row_mask >> order[i] & 1) loop.y[i] = stride, stride *= loop.size[i];

  const Device device = index(0).device();
  Inverse inverse{empty({stride + 1}, DType::i64, device), empty({rows_.elements()}, DType::i64, device)};
  MOEGRAD_LAUNCH(device, invert_routes, loop, stride, inverse.begin.data<i64>(), inverse.order.data<i64>());
  kept_.push_back(std::make_unique<Kept>(Kept{row_mask, class_mask, std::move(inverse)}));
  return kept_.back()->inverse;
}

}  // namespace moegrad

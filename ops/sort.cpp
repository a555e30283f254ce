#include "ops/sort.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/autograd.h"
#include "core/choose.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/gather.h"
#include "ops/sort_entry.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// x with `axis` last, contiguous, outside the graph.
Tensor rows_of(const Tensor& x, int axis) {
  no_grad guard;
  return contiguous(swap_axes(x, axis, -1));
}

// By how much the order of the first k elements of each row was decided: the smallest gap between neighbours.
double smallest_gap(const Tensor& x, int axis, i64 k, bool descending) {
  const i64 n = x.shape()[axis];
  std::vector<double> v = rows_of(x, axis).to_vector<double>();
  double least = std::numeric_limits<double>::infinity();
  const auto before = [descending](double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) != std::isnan(b) && std::isnan(a) == descending;
    return descending ? a > b : a < b;
  };
  for (auto row = v.begin(); row != v.end(); row += n) {
    std::sort(row, row + n, before);
    for (i64 j = 0; j < std::min(k, n - 1); ++j) {
      const double gap = row[j] == row[j + 1] ? 0 : std::abs(row[j] - row[j + 1]);
      if (!std::isnan(gap)) least = std::min(least, gap);  // no small change makes a NaN a number
    }
  }
  return least;
}

// Indices of the first k elements along `axis`; the choice goes by `name`.
Tensor first_indices(const char* name, const Tensor& x, int axis, i64 k, bool descending) {
  return choose(
      name, x,
      [&] {
        const Tensor rows = rows_of(x, axis);
        Shape shape = rows.shape();
        shape.back() = k;
        Tensor y = empty(shape, DType::i64, x.device());
        if (y.size() > 0) {
          const OrderPlan plan{rows.size() / rows.dim(-1), rows.dim(-1), k, descending};
          with_any(x.dtype(),
                   [&]<class X>() { MOEGRAD_LAUNCH(x.device(), order_rows, rows.data<X>(), y.data<i64>(), plan); });
        }
        return contiguous(swap_axes(y, axis, -1));
      },
      [&](const Tensor&) { return smallest_gap(x, axis, k, descending); });
}

Tensor arg_extremum(const char* name, const Tensor& x, int axis_any, bool keep, bool largest) {
  const int axis = check_axis(name, x.shape(), axis_any);
  if (x.shape()[axis] == 0)
    throw ShapeError(fmt::format("{}: there must be elements to compare; got axis {} of x {}", name, axis_any,
                                 to_string(x.shape())));
  const Tensor y = first_indices(name, x, axis, 1, largest);
  return keep ? y : squeeze(y, axis);
}
Ordered extremum_along(const char* name, const Tensor& x, int axis_any, bool keep, bool largest) {
  const Tensor indices = arg_extremum(name, x, axis_any, true, largest);
  const int axis = check_axis(name, x.shape(), axis_any);
  const Tensor values = take_along(x, axis, indices);
  return keep ? Ordered{values, indices} : Ordered{squeeze(values, axis), squeeze(indices, axis)};
}
Tensor arg_extremum(const char* name, const Tensor& x, bool largest) {
  if (x.size() == 0)
    throw ShapeError(fmt::format("{}: there must be elements to compare; got x {}", name, to_string(x.shape())));
  no_grad guard;
  return arg_extremum(name, reshape(x, {-1}), 0, false, largest);
}

}  // namespace

Ordered sort(const Tensor& x, int axis_any, bool descending) {
  const int axis = check_axis("sort", x.shape(), axis_any);
  const Tensor indices = first_indices("sort", x, axis, x.shape()[axis], descending);
  return {take_along(x, axis, indices), indices};
}
Tensor argsort(const Tensor& x, int axis_any, bool descending) {
  const int axis = check_axis("argsort", x.shape(), axis_any);
  return first_indices("argsort", x, axis, x.shape()[axis], descending);
}

Ordered top_k(const Tensor& x, i64 k, int axis_any, bool largest) {
  const int axis = check_axis("top_k", x.shape(), axis_any);
  if (k < 0 || k > x.shape()[axis])
    throw ShapeError(fmt::format("top_k: k must be in [0, {}]; got k = {} for x {} along axis {}", x.shape()[axis], k,
                                 to_string(x.shape()), axis_any));
  const Tensor indices = first_indices("top_k", x, axis, k, largest);
  return {take_along(x, axis, indices), indices};
}

Tensor argmax(const Tensor& x, int axis, bool keep) { return arg_extremum("argmax", x, axis, keep, true); }
Tensor argmax(const Tensor& x) { return arg_extremum("argmax", x, true); }
Tensor argmin(const Tensor& x, int axis, bool keep) { return arg_extremum("argmin", x, axis, keep, false); }
Tensor argmin(const Tensor& x) { return arg_extremum("argmin", x, false); }
Ordered max_along(const Tensor& x, int axis, bool keep) { return extremum_along("max_along", x, axis, keep, true); }
Ordered min_along(const Tensor& x, int axis, bool keep) { return extremum_along("min_along", x, axis, keep, false); }

// ---- CPU kernels

namespace {

using detail::entry_of, detail::NarrowEntry, detail::WideEntry;

constexpr int kFew = 16;  // so many best entries are kept while a row is read

// The first K entries of the row, in order, at `out`; entries that no row has fill it up where the row is shorter.
// An entry enters without a branch: each place keeps the smaller of its own and the larger of its neighbour's and the
// new one.
template <int K, class Entry, class X> void first_few(const X* x, i64 n, bool descending, Entry* out) {
  std::fill_n(out, K, Entry::last());
  for (i64 i = 0; i < n; ++i) {
    const Entry e = entry_of<Entry>(x, i, descending);
    if (!(e < out[K - 1])) continue;
    for (int j = K - 1; j > 0; --j) out[j] = std::min(out[j], std::max(out[j - 1], e));
    out[0] = std::min(out[0], e);
  }
}
// The first k entries of x[begin, end), in order, at the beginning of `room`, which has a place for each element.
template <class Entry, class X> void first_many(const X* x, i64 begin, i64 end, i64 k, bool descending, Entry* room) {
  for (i64 i = begin; i < end; ++i) room[i - begin] = entry_of<Entry>(x, i, descending);
  if (k < end - begin) std::nth_element(room, room + k, room + (end - begin));
  std::sort(room, room + k);
}
template <class Entry, class X> void first_of_row(const X* x, const OrderPlan& p, i64* y, std::vector<Entry>& room) {
  Entry few[kFew], *first = few;
  if (p.k == 1) {
    first_few<1>(x, p.n, p.descending, few);
  } else if (p.k == 2) {
    first_few<2>(x, p.n, p.descending, few);
  } else if (p.k <= 4) {
    first_few<4>(x, p.n, p.descending, few);
  } else if (p.k <= 8) {
    first_few<8>(x, p.n, p.descending, few);
  } else if (p.k <= kFew) {
    first_few<kFew>(x, p.n, p.descending, few);
  } else {
    room.resize(static_cast<std::size_t>(p.n));
    first = room.data();
    first_many(x, 0, p.n, p.k, p.descending, first);
  }
  for (i64 j = 0; j < p.k; ++j) y[j] = first[j].index();
}

// A long row, shared among threads: the first entries of every chunk, merged pairwise.
template <class Entry, class X> void first_of_long_row(const X* x, const OrderPlan& p, i64* y) {
  const Chunks chunks{p.n, std::min<i64>(num_threads(), kMaxChunks)};
  std::vector<Entry> room(static_cast<std::size_t>(p.n));
  std::vector<i64> held(static_cast<std::size_t>(chunks.count));
  parallel_for(chunks.count, 1, [&](i64 first, i64 last) {
    for (i64 c = first; c < last; ++c) {
      const i64 begin = chunks.begin(c), end = chunks.end(c), k = std::min(p.k, end - begin);
      first_many(x, begin, end, k, p.descending, room.data() + begin);
      held[static_cast<std::size_t>(c)] = k;
    }
  });
  for (i64 stride = 1; stride < chunks.count; stride *= 2)
    parallel_for((chunks.count + 2 * stride - 1) / (2 * stride), 1, [&](i64 first, i64 last) {
      std::vector<Entry> merged;
      for (i64 pair = first; pair < last; ++pair) {
        const i64 a = 2 * stride * pair, b = a + stride;
        if (b >= chunks.count) continue;
        i64 &na = held[static_cast<std::size_t>(a)], nb = held[static_cast<std::size_t>(b)];
        Entry *pa = room.data() + chunks.begin(a), *pb = room.data() + chunks.begin(b);
        merged.resize(static_cast<std::size_t>(na + nb));
        std::merge(pa, pa + na, pb, pb + nb, merged.begin());
        na = std::min(p.k, na + nb);
        std::copy_n(merged.begin(), na, pa);
      }
    });
  for (i64 j = 0; j < p.k; ++j) y[j] = room[static_cast<std::size_t>(j)].index();
}

template <class Entry, class X> void order_all_rows(const X* x, i64* y, const OrderPlan& p) {
  constexpr i64 kLong = 1 << 15;
  if (p.n >= kLong && p.rows < num_threads()) {
    for (i64 r = 0; r < p.rows; ++r) first_of_long_row<Entry>(x + r * p.n, p, y + r * p.k);
    return;
  }
  parallel_for(p.rows, (1 << 12) / p.n + 1, [&](i64 begin, i64 end) {
    std::vector<Entry> room;
    for (i64 r = begin; r < end; ++r) first_of_row(x + r * p.n, p, y + r * p.k, room);
  });
}

}  // namespace

template <class X> void cpu::order_rows(const X* x, i64* y, const OrderPlan& p) {
  if (sizeof(X) < 8 && p.n < i64{1} << 32)
    order_all_rows<NarrowEntry>(x, y, p);
  else
    order_all_rows<WideEntry>(x, y, p);
}

}  // namespace moegrad

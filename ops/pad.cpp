#include "ops/pad.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/loops.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// The same box in x and in y: what pad copies. Empty where nothing of x is left.
struct Box {
  Shape size, from, to;
};

std::string to_string(std::span<const Padding> paddings) {
  std::string text;
  for (const Padding& p : paddings) text += fmt::format("{}{{{}, {}}}", text.empty() ? "" : ", ", p.before, p.after);
  return "{" + text + "}";
}

Shape padded_shape(const Tensor& x, std::span<const Padding> paddings, Box& box) {
  constexpr i64 kMost = i64{1} << 61;
  const int extra = x.rank() - static_cast<int>(paddings.size());
  Shape shape = x.shape();
  bool fits = extra >= 0;
  for (int i = 0; fits && i < x.rank(); ++i) {
    const i64 n = x.shape()[i];
    const Padding p = i < extra ? Padding{} : paddings[static_cast<std::size_t>(i - extra)];
    fits = std::min(p.before, p.after) >= -kMost && std::max(p.before, p.after) <= kMost && p.before + n + p.after >= 0;
    if (!fits) break;
    shape[i] = p.before + n + p.after;
    box.size.push_back(std::max<i64>(0, n + std::min<i64>(p.before, 0) + std::min<i64>(p.after, 0)));
    box.from.push_back(std::max<i64>(-p.before, 0));
    box.to.push_back(std::max<i64>(p.before, 0));
  }
  if (!fits)
    throw ShapeError(fmt::format("pad: at most one pair per axis, and sizes of at least 0; got {} for x {}",
                                 to_string(paddings), moegrad::to_string(x.shape())));
  check_sizes("pad", shape);
  return shape;
}

Tensor part(const Tensor& x, const Shape& from, const Shape& size) {
  i64 offset = x.body().offset;
  for (int i = 0; i < x.rank(); ++i) offset += from[i] * x.strides()[i];
  return view_of(x, size, x.strides(), offset);
}

Tensor triangle(const char* op, const Tensor& x, i64 diagonal, bool lower) {
  if (x.rank() < 2)
    throw ShapeError(fmt::format("{}: x must have at least 2 axes; got x {}", op, to_string(x.shape())));
  Tensor y = empty_like(x);
  const i64 m = x.dim(-2), n = x.dim(-1);
  const i64 clamped = std::clamp<i64>(diagonal, -m - 1, n + 1);
  if (x.size() > 0) {
    no_grad guard;
    const Tensor rows = contiguous(x);
    with_any(x.dtype(), [&]<class T>() {
      MOEGRAD_LAUNCH(x.device(), triangle, rows.data<T>(), y.data<T>(), x.size() / (m * n), m, n, clamped, lower);
    });
  }
  return record(
      op, y, {x}, saves(kNone),
      [=](const GradArgs& g) -> Grads { return {lower ? tril(g.dy, clamped) : triu(g.dy, clamped)}; },
      [clamped] { return fmt::format("diagonal = {}", clamped); });
}

}  // namespace

Tensor pad(const Tensor& x_any, std::span<const Padding> paddings, double value) {
  Box box;
  const Shape shape = padded_shape(x_any, paddings, box);
  if (is_int(x_any.dtype())) check_whole("pad", value, x_any);
  const Tensor x = dense(x_any);
  Tensor y = full(shape, value, x.dtype(), x.device());
  if (box.size.elements() > 0) {
    const Tensor from = part(x, box.from, box.size), to = part(y, box.to, box.size);
    const Nest<2> nest = nest_over<2>(box.size, {&from, &to});
    with_any(x.dtype(),
             [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, formula::Same{}, from.data<T>(), to.data<T>(), nest); });
  }
  return record(
      "pad", y, {x_any}, saves(kNone),
      [back = std::vector<Padding>(paddings.begin(), paddings.end())](const GradArgs& g) -> Grads {
        std::vector<Padding> cut = back;
        for (Padding& p : cut) p = {-p.before, -p.after};
        return {pad(g.dy, cut)};
      },
      [text = to_string(paddings)] { return "paddings = " + text; });
}
Tensor pad(const Tensor& x, std::initializer_list<Padding> paddings, double value) {
  return pad(x, std::span<const Padding>(paddings.begin(), paddings.size()), value);
}

namespace {

// One side of an axis: `amount` positions that continue x there.
Tensor continuation(const Tensor& x, int axis, i64 amount, bool before, PadMode mode) {
  const i64 n = x.shape()[axis];
  switch (mode) {
    case PadMode::reflect:
      return flip(slice(x, axis, before ? Range{1, amount + 1} : Range{n - 1 - amount, n - 1}), axis);
    case PadMode::circular: return slice(x, axis, before ? Range{n - amount, n} : Range{0, amount});
    case PadMode::replicate: break;
  }
  Shape shape = x.shape();
  shape[axis] = amount;
  return expand(slice(x, axis, before ? Range{0, 1} : Range{n - 1, n}), shape);
}

}  // namespace

Tensor pad(const Tensor& x, std::span<const Padding> paddings, PadMode mode) {
  Box box;
  padded_shape(x, paddings, box);
  std::vector<Padding> cut(paddings.begin(), paddings.end());
  const int extra = x.rank() - static_cast<int>(paddings.size());
  for (std::size_t i = 0; i < cut.size(); ++i) {
    const i64 n = box.size[extra + static_cast<int>(i)], most = std::max(cut[i].before, cut[i].after);
    const bool fits = mode == PadMode::replicate ? n > 0 : mode == PadMode::circular ? most <= n : most < n;
    if (most > 0 && !fits)
      throw ShapeError(fmt::format("pad: there must be elements to continue with; got {} for x {}", to_string(paddings),
                                   moegrad::to_string(x.shape())));
    cut[i] = {std::min<i64>(cut[i].before, 0), std::min<i64>(cut[i].after, 0)};
  }
  const bool cuts = std::any_of(cut.begin(), cut.end(), [](const Padding& p) { return p.before < 0 || p.after < 0; });
  Tensor y = cuts ? pad(x, cut) : x;
  for (std::size_t i = 0; i < paddings.size(); ++i) {
    const int axis = extra + static_cast<int>(i);
    std::vector<Tensor> parts{y};
    if (const i64 m = paddings[i].before; m > 0) parts.insert(parts.begin(), continuation(y, axis, m, true, mode));
    if (const i64 m = paddings[i].after; m > 0) parts.push_back(continuation(y, axis, m, false, mode));
    y = concat(parts, axis);
  }
  return y;
}
Tensor pad(const Tensor& x, std::initializer_list<Padding> paddings, PadMode mode) {
  return pad(x, std::span<const Padding>(paddings.begin(), paddings.size()), mode);
}

Tensor tril(const Tensor& x, i64 diagonal) { return triangle("tril", x, diagonal, true); }
Tensor triu(const Tensor& x, i64 diagonal) { return triangle("triu", x, diagonal, false); }

template <class T> void cpu::triangle(const T* x, T* y, i64 count, i64 m, i64 n, i64 diagonal, bool lower) {
  parallel_for(count * m, kMapGrain / n + 1, [&](i64 begin, i64 end) {
    for (i64 row = begin; row < end; ++row) {
      // Lower: columns [0, i + diagonal] are kept; upper: [i + diagonal, n).
      const i64 cut = std::clamp<i64>(row % m + diagonal + (lower ? 1 : 0), 0, n);
      const T* from = x + row * n;
      T* to = y + row * n;
      if (lower) {
        std::copy_n(from, cut, to);
        std::fill(to + cut, to + n, T(0));
      } else {
        std::fill_n(to, cut, T(0));
        std::copy(from + cut, from + n, to + cut);
      }
    }
  });
}

}  // namespace moegrad

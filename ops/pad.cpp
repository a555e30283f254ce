#include "ops/pad.h"

#include <fmt/format.h>

#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/loops.h"

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

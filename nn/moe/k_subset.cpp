#include "nn/moe/k_subset.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/choose.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

// Logarithms of probabilities that are 0. Powers of two of very different size: sums of them stay exact and finite, in
// f32, too, and what no bits can give (j ones among fewer bits) loses against what needs bits that are never one.
constexpr double kNeverOne = -0x1p100, kImpossible = -0x1p120;

Tensor checked(const char* who, const Tensor& logits, i64 k) {
  if (!is_float(logits.dtype())) throw_dtype(who, "f32, f64 or bf16", logits.dtype());
  if (logits.rank() == 0 || k < 1 || k > logits.dim(-1))
    throw ShapeError(
        fmt::format("{}: logits must be [.., n] with k in [1, n]; got {}, k = {}", who, to_string(logits.shape()), k));
  return widen(logits);
}

Tensor log_of_one(const Tensor& logits) { return clamp(log_sigmoid(logits), kNeverOne, 0); }
Tensor log_of_zero(const Tensor& logits) { return log_of_one(neg(logits)); }

// The table of i = 0 .. n as a tensor of each i, [.., k + 1].
std::vector<Tensor> table_rows(const Tensor& logits, i64 k) {
  const Tensor one = log_of_one(logits), zero = log_of_zero(logits);
  Shape shape = logits.shape();
  shape[shape.rank() - 1] = k;
  const Tensor impossible = full(shape, kImpossible, logits.dtype(), logits.device());
  shape[shape.rank() - 1] = 1;
  const Tensor before_first = full(shape, kImpossible, logits.dtype(), logits.device());
  std::vector<Tensor> rows{concat({zeros(shape, logits.dtype(), logits.device()), impossible}, -1)};
  for (i64 i = 0; i < logits.dim(-1); ++i) {
    const Tensor& row = rows.back();
    const Tensor one_fewer = concat({before_first, slice(row, -1, {0, k})}, -1);  // j - 1 ones before bit i
    rows.push_back(logaddexp(one_fewer + slice(one, -1, {i, i + 1}), row + slice(zero, -1, {i, i + 1})));
  }
  return rows;
}

Tensor table_of(const Tensor& logits, i64 k) { return stack(table_rows(logits, k), -2); }

// [.., i, j] of a table as [..].
Tensor entry(const Tensor& table, i64 i, i64 j) { return select(select(table, -1, j), -1, i); }

Tensor marginals_of(const Tensor& logits, i64 k) {
  const i64 n = logits.dim(-1);
  const Tensor before = table_of(logits, k);                     // [.., i, j]: j ones among the first i bits
  const Tensor after = flip(table_of(flip(logits, -1), k), -2);  // [.., i, j]: j ones among bits i .. n - 1
  // Of k - 1 ones among the others, j stand before bit i and k - 1 - j behind it.
  const Tensor left = slice(slice(before, -2, {0, n}), -1, {0, k});
  const Tensor right = flip(slice(slice(after, -2, {1, n + 1}), -1, {0, k}), -1);
  const Tensor others = logsumexp(left + right, -1);  // [.., n]
  // Logarithms of huge logits are off by their rounding; no probability is above 1.
  return exp(clamp(log_of_one(logits) + others - unsqueeze(entry(before, n, k), -1), kImpossible, 0));
}

// What a sample is drawn with: table rows, log p and the numbers that decide.
struct Draws {
  std::vector<Tensor> rows;
  Tensor one, uniform;
  i64 n, k;
};

// Pr(bit i is one | `left` of the bits 0 .. i are), [.., 1].
Tensor chance(const Draws& d, i64 i, const Tensor& left) {
  const auto at = static_cast<std::size_t>(i);
  const Tensor with = take_along(d.rows[at], -1, left - scalar_like(1, left));
  return exp(with + slice(d.one, -1, {i, i + 1}) - take_along(d.rows[at + 1], -1, left));
}

// Bits from the last to the first. `meet` is told of every comparison u < chance that is open: neither are all the bits
// that are left needed, nor none.
template <class Meet> Tensor draw_bits(const Draws& d, Meet meet) {
  std::vector<Tensor> bits(static_cast<std::size_t>(d.n));
  Tensor left;  // i64 [.., 1]: ones still to come
  for (i64 i = d.n - 1; i >= 0; --i) {
    const Tensor u = unsqueeze(select(d.uniform, 0, d.n - 1 - i), -1);
    if (!left) left = full(u.shape(), static_cast<double>(d.k), DType::i64, u.device());
    const Tensor p = chance(d, i, left);
    const Tensor needed = gt(left, scalar_like(static_cast<double>(i), left));
    const Tensor wanted = gt(left, scalar_like(0, left));
    meet(logical_and(wanted, logical_not(needed)), u, p);
    const Tensor bit = logical_and(wanted, logical_or(needed, lt(u, p)));
    left = left - cast(bit, DType::i64);
    bits[static_cast<std::size_t>(i)] = cast(bit, DType::i64);
  }
  return concat(bits, -1);  // [.., n]
}

Tensor sample_of(const Tensor& logits, i64 k, const Tensor& uniform) {
  const auto draws = [&] {
    const Tensor x = logits.detach();
    return Draws{table_rows(x, k), log_of_one(x), uniform.detach(), x.dim(-1), k};
  };
  const auto margin = [&](const Tensor&) {
    Tensor least = full({}, std::numeric_limits<double>::infinity(), logits.dtype(), logits.device());
    draw_bits(draws(), [&](const Tensor& open, const Tensor& u, const Tensor& p) {
      least = minimum(least, amin(where(open, abs(u - p), least)));
    });
    return least.item();
  };
  const auto ignore = [](const Tensor&, const Tensor&, const Tensor&) {};
  return choose(
      "k_subset", logits, [&] { return draw_bits(draws(), ignore); }, margin);
}

Tensor checked_uniform(const char* who, const Tensor& logits, const Tensor& uniform) {
  Shape want{logits.dim(-1)};
  for (int a = 0; a + 1 < logits.rank(); ++a) want.push_back(logits.dim(a));
  if (uniform.shape() != want)
    throw ShapeError(fmt::format("{}: uniform must be [n, ..] = {} for logits {}; got {}", who, to_string(want),
                                 to_string(logits.shape()), to_string(uniform.shape())));
  if (uniform.dtype() != logits.dtype())
    throw_dtype(who, fmt::format("{} (uniform)", name(logits.dtype())).c_str(), uniform.dtype());
  return uniform;
}

}  // namespace

Tensor log_pr_table(const Tensor& logits, i64 k) { return table_of(checked("log_pr_table", logits, k), k); }

Tensor log_pr_exactly(const Tensor& logits, i64 k) {
  return select(table_rows(checked("log_pr_exactly", logits, k), k).back(), -1, k);
}

Tensor k_subset_marginals(const Tensor& logits, i64 k) {
  return marginals_of(checked("k_subset_marginals", logits, k), k);
}

Tensor sample_k_subset(const Tensor& logits, i64 k, const Tensor& uniform) {
  const Tensor x = checked("sample_k_subset", logits, k);
  return cast(sample_of(x, k, checked_uniform("sample_k_subset", x, uniform)), x.dtype());
}

Tensor simple_k_subset(const Tensor& logits, i64 k, const Tensor& uniform) {
  const Tensor x = checked("simple_k_subset", logits, k);
  const Tensor bits = cast(sample_of(x, k, checked_uniform("simple_k_subset", x, uniform)), x.dtype());
  const Tensor m = marginals_of(x, k);
  return bits + (m - m.detach());
}

}  // namespace moegrad

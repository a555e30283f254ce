#include "ops/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "core/autograd.h"
#include "core/blas.h"
#include "core/math.h"
#include "core/parallel.h"
#include "ops/attention_twin.h"
#include "ops/cast.h"

namespace moegrad {
namespace {

// ---- shape rule

void check_shapes(const Tensor& q, const Tensor& k, const Tensor& v) {
  bool fits = q.rank() >= 2 && k.rank() == q.rank() && v.rank() == q.rank();
  for (int i = 0; fits && i < q.rank() - 2; ++i) fits = q.shape()[i] == k.shape()[i] && q.shape()[i] == v.shape()[i];
  if (!fits || q.dim(-1) != k.dim(-1) || k.dim(-2) != v.dim(-2))
    throw ShapeError(
        fmt::format("attention: shapes must be q [.., S, d], k [.., T, d], v [.., T, e]; got q {}, k {}, v {}",
                    to_string(q.shape()), to_string(k.shape()), to_string(v.shape())));
}

Shape score_shape(const Tensor& q, const Tensor& k) {
  Shape shape = q.shape();
  shape.back() = k.dim(-2);
  return shape;
}
void check_beside_scores(const char* name, const Tensor& x, const Shape& scores) {
  if (!broadcasts_to(x.shape(), scores))
    throw ShapeError(fmt::format("attention: the {} must broadcast to the scores {}; got {} {}", name,
                                 to_string(scores), name, to_string(x.shape())));
}

void check(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  for (const Tensor* x : {&k, &v, &options.bias}) {
    if (!*x) continue;
    check_same_device("attention", q, *x);
    check_same_dtype("attention", q, *x);
  }
  if (!is_float(q.dtype())) throw DTypeError(fmt::format("attention: q must be {}; got {}", kFloats, describe(q)));
  check_shapes(q, k, v);
  if (options.bias) check_beside_scores("bias", options.bias, score_shape(q, k));
  plan_dropout("attention", options.dropout, options.draw);
  if (options.dropout > 0) check_same_device("attention", q, options.draw.step);
  if (!options.mask) return;
  check_same_device("attention", q, options.mask);
  if (options.mask.dtype() != DType::boolean)
    throw DTypeError(fmt::format("attention: the mask must be bool; got {}", describe(options.mask)));
  check_beside_scores("mask", options.mask, score_shape(q, k));
}

// ---- layouts

// x itself if its rows can be read as they lie.
Tensor with_rows(const Tensor& x) {
  const i64 column = x.strides().back(), row = x.strides()[x.rank() - 2];
  const bool readable = (column == 1 || x.dim(-1) <= 1) && (row >= x.dim(-1) || x.dim(-2) <= 1);
  return readable ? dense(x) : contiguous(x);
}

// Uninitialised, [.. like x, columns], with the axes in the order in which they lie in x: what was split into heads by
// a permute is joined again without a copy.
Tensor empty_in_layout_of(const Tensor& x, i64 columns) {
  Axes order;
  for (int i = 0; i < x.rank(); ++i) order.push_back(i);
  const Strides& old = x.strides();
  std::sort(order.begin(), order.end() - 1, [&](int a, int b) { return old[a] != old[b] ? old[a] > old[b] : a < b; });
  Shape sizes = x.shape(), stored;
  sizes.back() = columns;
  for (const int a : order) stored.push_back(sizes[a]);
  Strides strides = sizes;
  for (int i = 0; i < order.size(); ++i) strides[order[i]] = row_major(stored)[i];
  return view_of(empty(stored, x.dtype(), x.device()), sizes, strides, 0);
}

AttentionPlan plan_of(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  AttentionPlan plan{};
  plan.queries = q.dim(-2), plan.keys = k.dim(-2), plan.width = q.dim(-1), plan.value_width = v.dim(-1);
  plan.scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(std::max<i64>(plan.width, 1))));
  plan.causal = options.causal, plan.drops = options.dropout > 0;
  plan.dropout = plan_dropout("attention", options.dropout, options.draw);
  plan.batch.rank = std::max(q.rank() - 2, 1);
  for (int i = 0; i < q.rank() - 2; ++i) plan.batch.sizes[i] = q.shape()[i];
  return plan;
}
void set_operand(AttentionPlan& plan, AttentionPlan::Operand which, const Tensor& x) {
  for (int i = 0; i < x.rank() - 2; ++i) plan.batch.strides[which][i] = x.strides()[i];
  plan.row[which] = std::max(x.dim(-2) > 1 ? x.strides()[x.rank() - 2] : 0, x.dim(-1));
}
AttentionPlan plan_inputs(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  AttentionPlan plan = plan_of(q, k, v, options);
  set_operand(plan, AttentionPlan::kQ, q), set_operand(plan, AttentionPlan::kK, k);
  set_operand(plan, AttentionPlan::kV, v);
  if (!options.mask) return plan;
  const Strides mask = broadcast_strides(options.mask.shape(), options.mask.strides(), score_shape(q, k));
  for (int i = 0; i < q.rank() - 2; ++i) plan.batch.strides[AttentionPlan::kMask][i] = mask[i];
  plan.row[AttentionPlan::kMask] = mask[q.rank() - 2];
  plan.mask_column = mask.back();
  return plan;
}
template <class F> AttentionInputs<F> inputs_of(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask) {
  return {q.data<F>(), k.data<F>(), v.data<F>(), mask ? mask.data<bool>() : nullptr};
}

// ---- forward and gradient

// On a CPU bf16 has been widened before.
template <class F>
void launch_forward(Device device, const AttentionInputs<F>& in, const AttentionOutputs<F>& out,
                    const AttentionPlan& plan) {
  if constexpr (!std::is_same_v<F, bf16>)
    MOEGRAD_LAUNCH(device, attention_forward, in, out, plan);
  else if constexpr (kWithCuda)
    cuda::attention_forward(in, out, plan);
}
template <class F>
void launch_backward(Device device, const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const F* dy,
                     const AttentionGradients<F>& to, const AttentionPlan& plan) {
  if constexpr (!std::is_same_v<F, bf16>)
    MOEGRAD_LAUNCH(device, attention_backward, in, out, dy, to, plan);
  else if constexpr (kWithCuda)
    cuda::attention_backward(in, out, dy, to, plan);
}

Tensor wide_twin(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  return cast(attention_twin(widen(q), widen(k), widen(v), options), q.dtype());
}

Grads gradients(const GradArgs& g, AttentionOptions options) {
  options.mask = g.in(3);
  const Tensor q = g.in(0), k = g.in(1), v = g.in(2), y = g.y(), lse = g.extra(0), dy = with_rows(g.dy);
  if (q.dim(-2) == 0) return {zeros_like(q), zeros_like(k), zeros_like(v)};  // no block of queries would set them
  const Tensor dq = empty_in_layout_of(q, q.dim(-1)), dk = empty_in_layout_of(k, k.dim(-1)),
               dv = empty_in_layout_of(v, v.dim(-1));
  AttentionPlan plan = plan_inputs(q, k, v, options);
  set_operand(plan, AttentionPlan::kY, y), set_operand(plan, AttentionPlan::kDy, dy);
  set_operand(plan, AttentionPlan::kDq, dq), set_operand(plan, AttentionPlan::kDk, dk);
  set_operand(plan, AttentionPlan::kDv, dv);
  merge_axes(plan.batch);
  with_float("attention", q.dtype(), [&]<class F>() {
    const AttentionGradients<F> to{dq.data<F>(), dk.data<F>(), dv.data<F>()};
    const AttentionInputs<F> in = inputs_of<F>(q, k, v, options.mask);
    launch_backward(q.device(), in, {y.data<F>(), lse.data<Computed<F>>()}, dy.data<F>(), to, plan);
  });
  return {dq, dk, dv};
}

}  // namespace

Tensor attention(const Tensor& q_any, const Tensor& k_any, const Tensor& v_any, AttentionOptions options) {
  check(q_any, k_any, v_any, options);
  if (q_any.dtype() == DType::bf16 && (q_any.device() == Device::cpu || options.bias)) {
    options.bias = widen(options.bias);
    return narrow(attention(widen(q_any), widen(k_any), widen(v_any), std::move(options)));
  }
  if (options.bias) return attention_twin(q_any, k_any, v_any, options);
  const Tensor q = with_rows(q_any), k = with_rows(k_any), v = with_rows(v_any);
  AttentionPlan plan = plan_inputs(q, k, v, options);
  const Tensor y = empty_in_layout_of(q, v.dim(-1));
  const DType computed = q.dtype() == DType::bf16 ? DType::f32 : q.dtype();
  const Tensor lse = empty({plan.batch.elements(), plan.queries}, computed, q.device());
  set_operand(plan, AttentionPlan::kY, y);
  merge_axes(plan.batch);
  with_float("attention", q.dtype(), [&]<class F>() {
    const AttentionInputs<F> in = inputs_of<F>(q, k, v, options.mask);
    launch_forward(q.device(), in, {y.data<F>(), lse.data<Computed<F>>()}, plan);
  });
  const Tensor mask = std::exchange(options.mask, {});  // an input of the node, not a capture
  options.scale = plan.scale;
  return fused(
      "attention", y, {q, k, v, mask}, saves(kY, {lse}), [options](const GradArgs& g) { return gradients(g, options); },
      [options](std::span<const Tensor> in) {
        AttentionOptions own = options;
        own.mask = in[3];
        return wide_twin(in[0], in[1], in[2], own);
      },
      [options] {
        return fmt::format("causal = {}, scale = {}, dropout = {}", options.causal, *options.scale, options.dropout);
      });
}

// ---- CPU kernels
// The unit of work is a block of queries of one batch entry: their scores against all keys that they see, about kScores
// of them, stay in the second-level cache. They are stored as [keys, queries], so that maxima and sums over keys need
// no reduction within a vector, however few keys there are. Under `causal`, keys behind the last query are skipped.

namespace {

constexpr i64 kScores = 1 << 15;          // scores of a block
constexpr i64 kFewest = 16, kMost = 128;  // queries of a block
constexpr i64 kMultiplyAdds = 1 << 18;    // per thread: about 10 us
template <class F> constexpr F kHidden = -std::numeric_limits<F>::infinity();

i64 block_of(const AttentionPlan& p) {
  return std::min(std::max<i64>(p.queries, 1), std::clamp(kScores / std::max<i64>(p.keys, 1), kFewest, kMost));
}
i64 grain_of(const AttentionPlan& p, i64 queries) {
  return kMultiplyAdds / (queries * (p.keys + 1) * (p.width + p.value_width + 16)) + 1;
}

// One batch entry: where its operands begin.
struct Entry {
  i64 index;
  i64 offset[AttentionPlan::kOperands];
  Entry(const AttentionPlan& plan, i64 number) : index(number), offset{} {
    for (int a = plan.batch.rank - 1; a >= 0; --a) {
      for (int o = 0; o < AttentionPlan::kOperands; ++o)
        offset[o] += number % plan.batch.sizes[a] * plan.batch.strides[o][a];
      number /= plan.batch.sizes[a];
    }
  }
};

// Queries first .. first + count - 1 of an entry, against the keys below `keys`.
template <class F> struct Block {
  const AttentionPlan& plan;
  const AttentionInputs<F>& in;
  const Entry& entry;
  i64 first, count, keys;

  Block(const AttentionPlan& p, const AttentionInputs<F>& inputs, const Entry& e, i64 block)
      : plan(p), in(inputs), entry(e), first(block * block_of(p)), count(std::min(block_of(p), p.queries - first)) {
    keys = p.causal ? std::clamp<i64>(first + count + p.keys - p.queries, 0, p.keys) : p.keys;
  }
  /// An operand from a row on.
  template <class X> X* at(X* x, AttentionPlan::Operand o, i64 row) const {
    return x + entry.offset[o] + row * plan.row[o];
  }
  template <class X> MatrixView<X> matrix(X* x, AttentionPlan::Operand o, i64 row, bool transposed = false) const {
    return {at(x, o, row), plan.row[o], transposed};
  }
  /// The first query of the block, counted from `first`, that sees key j, mask aside.
  i32 first_that_sees(i64 j) const {
    return plan.causal ? static_cast<i32>(std::clamp<i64>(j + plan.queries - plan.keys - first, 0, count)) : 0;
  }
  /// scale k q^T -> s [keys, count], -inf where the mask hides a key.
  void scores(F* s) const {
    cpu::gemm<F>(matrix(in.k, AttentionPlan::kK, 0), matrix(in.q, AttentionPlan::kQ, first, true), s, count, keys,
                 count, plan.width, static_cast<F>(plan.scale));
    if (!in.mask) return;
    const bool* mask = at(in.mask, AttentionPlan::kMask, first);
    const i64 step = plan.row[AttentionPlan::kMask];
    for (i64 j = 0; j < keys; ++j, s += count, mask += plan.mask_column)
      for (i64 i = 0; i < count; ++i) s[i] = mask[i * step] ? s[i] : kHidden<F>;
  }
  /// Zeros and scales x [keys, count], as dropout does on a tensor [batch, plan.keys, plan.queries].
  void drop(const F* x, F* y) const {
    const i64 number = entry.index * plan.keys * plan.queries + first;
    if (count == plan.queries) return cpu::dropout_range(x, y, number, keys * count, plan.dropout);
    for (i64 j = 0; j < keys; ++j)
      cpu::dropout_range(x + j * count, y + j * count, number + j * plan.queries, count, plan.dropout);
  }
};

// Hides what `causal` hides; the largest score of each query.
template <class F> void hide_and_compare(const Block<F>& b, F* __restrict s, F* __restrict top) {
  std::fill_n(top, b.count, kHidden<F>);
  const i32 count = static_cast<i32>(b.count);
  for (i64 j = 0; j < b.keys; ++j, s += count) {
    const i32 seeing = b.first_that_sees(j);
#pragma omp simd
    for (i32 i = 0; i < count; ++i) {
      const F x = s[i];
      s[i] = i < seeing ? kHidden<F> : x;
      top[i] = s[i] > top[i] ? s[i] : top[i];
    }
  }
}

// s = e^(s - shift), and the sum for each query.
template <class F> void exponentials(const Block<F>& b, F* __restrict s, const F* __restrict shift, F* __restrict sum) {
  std::fill_n(sum, b.count, F(0));
  for (i64 j = 0; j < b.keys; ++j, s += b.count)
#pragma omp simd
    for (i64 i = 0; i < b.count; ++i) {
      s[i] = math::exp(s[i] - shift[i]);
      sum[i] += s[i];
    }
}

}  // namespace

template <class F>
void cpu::attention_forward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const AttentionPlan& plan) {
  const i64 size = block_of(plan), blocks = (plan.queries + size - 1) / size;
  parallel_for(plan.batch.elements() * blocks, grain_of(plan, size), [&](i64 begin, i64 end) {
    const auto scratch = std::make_unique_for_overwrite<F[]>(static_cast<std::size_t>(size * plan.keys));
    F shift[kMost], sum[kMost];
    for (i64 unit = begin; unit < end; ++unit) {
      const Entry entry(plan, unit / blocks);
      const Block<F> block(plan, in, entry, unit % blocks);
      F* p = scratch.get();
      block.scores(p);
      hide_and_compare(block, p, shift);
      // Not an infinite one: -inf - -inf would be NaN, while a query that sees nothing has the sum 0.
      for (i64 i = 0; i < block.count; ++i) shift[i] = shift[i] - shift[i] == 0 ? shift[i] : 0;
      exponentials(block, p, shift, sum);
      F* lse_of = out.lse + entry.index * plan.queries + block.first;
#pragma omp simd
      for (i64 i = 0; i < block.count; ++i) {
        const F log_sum = shift[i] + math::log(sum[i]);
        lse_of[i] = sum[i] == 0 ? std::numeric_limits<F>::infinity() : log_sum;
        sum[i] = sum[i] == 0 ? F(0) : 1 / sum[i];
      }
      if (plan.drops) block.drop(p, p);
      // Rows are normalised after the product, where they are shorter.
      const i64 stride = plan.row[AttentionPlan::kY];
      F* to = block.at(out.y, AttentionPlan::kY, block.first);
      gemm<F>({p, block.count, true}, block.matrix(in.v, AttentionPlan::kV, 0), to, stride, block.count,
              plan.value_width, block.keys);
      for (i64 r = 0; r < block.count; ++r)
        for (i64 i = 0; i < plan.value_width; ++i) to[r * stride + i] *= sum[r];
    }
  });
}

namespace {

// p = e^(p - lse), 0 where `causal` hides a key.
template <class F> void probabilities(const Block<F>& b, F* __restrict p, const F* __restrict lse) {
  const i32 count = static_cast<i32>(b.count);
  for (i64 j = 0; j < b.keys; ++j, p += count) {
    const i32 seeing = b.first_that_sees(j);
#pragma omp simd
    for (i32 i = 0; i < count; ++i) {
      const F e = math::exp(p[i] - lse[i]);
      p[i] = i < seeing ? F(0) : e;
    }
  }
}

// dp = p (dp - sum of p dp over keys)
template <class F>
void softmax_backward(const Block<F>& b, MatrixView<const F> y, MatrixView<const F> dy, const F* __restrict p,
                      F* __restrict dp) {
  F sum[kMost] = {};
  for (i64 i = 0; i < b.count; ++i)
    for (i64 c = 0; c < b.plan.value_width; ++c) sum[i] += y.data[i * y.stride + c] * dy.data[i * dy.stride + c];
  for (i64 j = 0; j < b.keys; ++j)
#pragma omp simd
    for (i64 i = 0; i < b.count; ++i) dp[j * b.count + i] = p[j * b.count + i] * (dp[j * b.count + i] - sum[i]);
}

// With P = softmax(scores), and D, where dropout is on, a factor 0 or 1 / (1 - p) on each probability:
//   y = (D P) v              dv = (D P)^T dy,  dP = D (dy v^T)
//   scores = scale q k^T     dS = P (dP - sum of P dP over keys),  dq = scale dS k,  dk = scale dS^T q
// The sum of P dP over keys is that of y dy over a row. p, dp, dropped hold transposes, [keys, queries of the block].
template <class F>
void backward_block(const Block<F>& b, const AttentionOutputs<F>& out, const F* dy_all, const AttentionGradients<F>& to,
                    F beta, F* p, F* dp, F* dropped) {
  using Plan = AttentionPlan;
  const Plan& plan = b.plan;
  const MatrixView<const F> y = b.template matrix<const F>(out.y, Plan::kY, b.first),
                            dy = b.matrix(dy_all, Plan::kDy, b.first);
  b.scores(p);
  probabilities(b, p, out.lse + b.entry.index * plan.queries + b.first);
  cpu::gemm<F>(b.matrix(b.in.v, Plan::kV, 0), {dy.data, dy.stride, true}, dp, b.count, b.keys, b.count,
               plan.value_width);
  if (plan.drops) b.drop(p, dropped), b.drop(dp, dp);
  cpu::gemm<F>({plan.drops ? dropped : p, b.count}, dy, b.at(to.dv, Plan::kDv, 0), plan.row[Plan::kDv], b.keys,
               plan.value_width, b.count, F(1), beta);
  softmax_backward(b, y, dy, p, dp);
  const F scale = static_cast<F>(plan.scale);
  cpu::gemm<F>({dp, b.count, true}, b.matrix(b.in.k, Plan::kK, 0), b.at(to.dq, Plan::kDq, b.first), plan.row[Plan::kDq],
               b.count, plan.width, b.keys, scale);
  cpu::gemm<F>({dp, b.count}, b.matrix(b.in.q, Plan::kQ, b.first), b.at(to.dk, Plan::kDk, 0), plan.row[Plan::kDk],
               b.keys, plan.width, b.count, scale, beta);
}

}  // namespace

// One thread per batch entry, because all blocks of queries add to the same dk and dv. The last block goes first: it
// sees every key, so it can set what the others add to.
template <class F>
void cpu::attention_backward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const F* dy,
                             const AttentionGradients<F>& to, const AttentionPlan& plan) {
  const i64 size = block_of(plan), blocks = (plan.queries + size - 1) / size;
  const i64 grain = grain_of(plan, 2 * std::max<i64>(plan.queries, 1));
  parallel_for(plan.batch.elements(), grain, [&](i64 begin, i64 end) {
    const i64 room = size * plan.keys;
    const auto scratch = std::make_unique_for_overwrite<F[]>(static_cast<std::size_t>(room * (plan.drops ? 3 : 2)));
    for (i64 e = begin; e < end; ++e) {
      const Entry entry(plan, e);
      for (i64 b = blocks - 1; b >= 0; --b)
        backward_block(Block<F>(plan, in, entry, b), out, dy, to, b == blocks - 1 ? F(0) : F(1), scratch.get(),
                       scratch.get() + room, scratch.get() + (plan.drops ? 2 * room : 0));
    }
  });
}

}  // namespace moegrad

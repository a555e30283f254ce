// The same bits for any number of threads, and in every run on a GPU: every op that adds up, orders or overwrites, forward
// and backward, on sizes that its loops share among threads. Products by BLAS are not in the table: how a BLAS splits its
// sums is its own affair.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Run = std::function<std::vector<Tensor>(Args)>;

struct Row {
  std::string name;
  std::vector<Shape> shapes;  // of the operands that get a gradient
  Run run;
};

// One result.
Row row(const char* name, std::vector<Shape> shapes, std::function<Tensor(Args)> op) {
  return {name, std::move(shapes), [op](Args x) { return std::vector<Tensor>{op(x)}; }};
}

std::vector<std::byte> bytes_of(const Tensor& t) {
  const Tensor x = contiguous(dense(t.detach())).to(Device::cpu);
  const auto size = static_cast<std::size_t>(x.size() * byte_size(x.dtype()));
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), x.bytes() + x.body().offset * byte_size(x.dtype()), size);
  return bytes;
}

// Results of a row, then the gradients of those that have one.
std::vector<std::vector<std::byte>> bits(const Row& r, DType dtype) {
  std::vector<Tensor> xs;
  for (std::size_t i = 0; i < r.shapes.size(); ++i)
    xs.push_back(random_tensor(r.shapes[i], i + 1, -1, 1, dtype).requires_grad_());
  std::vector<std::vector<std::byte>> all;
  for (const Tensor& y : r.run(xs)) {
    all.push_back(bytes_of(y));
    if (!y.requires_grad()) continue;
    const Tensor dy = random_tensor(y.shape(), 99, -1, 1, dtype);
    for (const Tensor& g : grad(y, xs, dy, {.retain_graph = true})) all.push_back(bytes_of(g));
  }
  return all;
}

// Which threads of 3 and 2 give other bits than 1 does: 0 where none do. One thread comes last: memory is used again,
// and a piece that several threads forget would otherwise hold what one thread wrote there before.
int differs_with(const Row& r, DType dtype) {
  const int before = num_threads();
  set_num_threads(3);
  const auto three = bits(r, dtype);
  set_num_threads(2);
  const auto two = bits(r, dtype);
  set_num_threads(1);
  const auto one = bits(r, dtype);
  set_num_threads(before);
  return three != one ? 3 : two != one ? 2 : 0;
}

std::vector<Row> reductions() {
  const Shape wide{300, 700}, deep{3, 200, 5, 70};
  const Axes all{0, 1}, some{0, 2};
  return {row("sum of rows", {wide}, [](Args x) { return sum(x[0], 1); }),
          row("sum of columns", {wide}, [](Args x) { return sum(x[0], 0); }),
          row("sum of all", {wide}, [](Args x) { return sum(x[0]); }),
          row("sum of some axes", {deep}, [some](Args x) { return sum(x[0], some); }),
          row("mean", {wide}, [](Args x) { return mean(x[0]); }),
          row("prod", {{400, 300}}, [](Args x) { return prod(x[0] + 1.0, 1); }),
          row("amax", {wide}, [](Args x) { return amax(round(x[0] * 4.0), 0); }),
          row("amin", {wide}, [](Args x) { return amin(round(x[0] * 4.0)); }),
          row("var", {wide}, [all](Args x) { return var(x[0], all); }),
          row("stddev", {deep}, [some](Args x) { return stddev(x[0], some); }),
          row("norm 2", {wide}, [](Args x) { return norm(x[0], 2); }),
          row("norm 3", {wide}, [](Args x) { return norm(x[0], 3, 0); }),
          row("norm inf", {wide}, [](Args x) { return norm(x[0], INFINITY, 1); }),
          row("count_nonzero", {wide}, [](Args x) { return count_nonzero(round(x[0])); }),
          row("a broadcast operand", {wide, {700}, {300, 1}}, [](Args x) { return x[0] * x[1] + x[2]; }),
          row("logsumexp", {wide}, [](Args x) { return logsumexp(x[0], 0); })};
}

std::vector<Row> scans() {
  const Shape wide{300, 700}, line{200000};
  return {
      row("cumsum of a line", {line}, [](Args x) { return cumsum(x[0], 0); }),
      row("cumsum of columns", {wide}, [](Args x) { return cumsum(x[0], 0, {.reverse = true, .exclusive = true}); }),
      row("cumprod", {wide}, [](Args x) { return cumprod(x[0] + 1.0, 0); }),
      row("logcumsumexp", {wide}, [](Args x) { return logcumsumexp(x[0], 1); }),
      row("linear_scan", {wide, wide}, [](Args x) { return linear_scan(x[0], x[1], 1); }),
      row("linear_scan of columns", {wide, wide}, [](Args x) { return linear_scan(x[0], x[1], 0, true); }),
      row("softmax", {wide}, [](Args x) { return softmax(x[0], -1); }),
      row("softmax of two axes", {{40, 30, 200}},
          [](Args x) {
            return softmax(x[0], Axes{0, 2});
          }),
      row("log_softmax", {wide}, [](Args x) { return log_softmax(x[0], 0); })};
}

std::vector<Row> orders() {
  const auto both = [](const Ordered& o) { return std::vector<Tensor>{o.values, o.indices}; };
  const auto ties = [](const Tensor& x) { return x + round(x * 8.0) * 2.0; };
  return {{"sort of a line", {{100000}}, [=](Args x) { return both(sort(ties(x[0]))); }},
          {"sort of rows", {{300, 200}}, [=](Args x) { return both(sort(round(x[0] * 9.0), 0, true)); }},
          {"top_k of rows", {{3000, 16}}, [=](Args x) { return both(top_k(x[0], 3)); }},
          {"top_k of a line", {{100000}}, [=](Args x) { return both(top_k(round(x[0] * 99.0), 500)); }},
          {"max_along", {{3000, 16}}, [=](Args x) { return both(max_along(round(x[0] * 3.0), 1)); }},
          row("argmin", {{100000}}, [](Args x) { return argmin(round(x[0] * 99.0)); }),
          row("nonzero", {{100, 700}}, [](Args x) { return nonzero(round(x[0])); })};
}

std::vector<Row> index_ops() {
  const Tensor few = random_index({5000}, 9, 1), rows = random_index({5000, 4}, 300, 2),
               beside = random_index({600, 40}, 50, 3);
  const Tensor table = random_index({2, 3000}, 700, 4), mask = gt(random_tensor({300, 700}, 5), zeros({}, DType::f64));
  return {row("take_along", {{600, 50}}, [=](Args x) { return take_along(x[0], 1, beside); }),
          row("take_along down", {{50, 40}}, [=](Args x) { return take_along(x[0], 0, beside); }),
          row("index_select", {{9, 64}}, [=](Args x) { return index_select(x[0], 0, few); }),
          row("index_select inside", {{20, 9, 8}}, [=](Args x) { return index_select(x[0], 1, few); }),
          row("index_at", {{300, 700}},
              [=](Args x) {
                return index_at(x[0], {slice(rows, 1, {0, 1}), table[0]});
              }),
          row("embedding", {{700, 32}}, [=](Args x) { return embedding(x[0], table); }),
          row("embedding with padding", {{700, 32}}, [=](Args x) { return embedding(x[0], table, {.padding = 3}); }),
          row("scatter", {{600, 50}, {600, 40}}, [=](Args x) { return scatter(x[0], 1, beside, x[1]); }),
          row("scatter down", {{50, 40}, {600, 40}}, [=](Args x) { return scatter(x[0], 0, beside, x[1]); }),
          row("scatter_add", {{600, 50}, {600, 40}}, [=](Args x) { return scatter_add(x[0], 1, beside, x[1]); }),
          row("scatter_add down", {{50, 40}, {600, 40}}, [=](Args x) { return scatter_add(x[0], 0, beside, x[1]); }),
          row("index_add", {{9, 64}, {5000, 64}}, [=](Args x) { return index_add(x[0], 0, few, x[1]); }),
          row("index_put", {{9, 64}, {5000, 64}}, [=](Args x) { return index_put(x[0], {few}, x[1]); }),
          row("index_put sum", {{2, 700, 8}, {2, 3000, 8}},
              [=](Args x) {
                return index_put(x[0], {random_index({2, 1}, 2, 7), table}, x[1], {.accumulate = true});
              }),
          row("masked_select", {{300, 700}}, [=](Args x) { return masked_select(x[0], mask); }),
          row("bincount", {{5000}}, [=](Args x) { return bincount(few, x[0]); }),
          row("repeat_interleave", {{5000, 8}}, [=](Args x) { return repeat_interleave(x[0], abs(few), 0); }),
          row("pad", {{300, 700}}, [=](Args x) {
            return pad(x[0], {{299, 299}, {5, 5}}, PadMode::reflect);
          })};
}

std::vector<Row> layers() {
  const Tensor token = random_index({8, 4000}, 500, 1), expert = random_index({4000, 2}, 6, 2),
               target = random_index({3000}, 60, 3);
  return {row("einsum dispatch", {{8, 500, 32}},
              [=](Args x) {
                return einsum("gpn,gnd->gpd", {one_hot(token, 500), x[0]});
              }),
          row("einsum combine", {{8, 4000}, {8, 4000, 32}},
              [=](Args x) {
                return einsum("gpn,gpd->gnd", {unsqueeze(x[0], -1) * one_hot(token, 500), x[1]});
              }),
          row("einsum of loads", {{4000, 2}},
              [=](Args x) { return einsum("tke->e", {unsqueeze(x[0], -1) * one_hot(expert, 6)}); }),
          row("layer_norm", {{3000, 64}, {64}, {64}}, [](Args x) { return layer_norm(x[0], x[1], x[2]); }),
          row("rms_norm", {{3000, 64}, {64}}, [](Args x) { return rms_norm(x[0], x[1]); }),
          row("group_norm", {{64, 32, 50}, {32}, {32}}, [](Args x) { return group_norm(x[0], 4, x[1], x[2]); }),
          row("batch_norm", {{64, 32, 50}, {32}, {32}}, [](Args x) { return batch_norm(x[0], x[1], x[2]); }),
          row("unfold", {{8, 3, 64, 64}}, [](Args x) { return unfold(x[0], 3, {.padding = 1}); }),
          row("max_pool2d", {{8, 3, 64, 64}}, [](Args x) { return max_pool2d(round(x[0] * 3.0), 3, {.stride = 2}); }),
          row("avg_pool2d", {{8, 3, 64, 64}}, [](Args x) { return avg_pool2d(x[0], 3, {.stride = 2}); }),
          row("normalize", {{3000, 64}}, [](Args x) { return normalize(x[0]); }),
          row("cross_entropy", {{3000, 60}}, [=](Args x) { return cross_entropy(x[0], target, {.ignore_index = -1}); }),
          row("mse_loss", {{300, 700}, {300, 700}}, [](Args x) { return mse_loss(x[0], x[1]); }),
          row("kl_div_loss", {{300, 700}, {300, 700}},
              [](Args x) { return kl_div_loss(log_softmax(x[0], 1), softmax(x[1], 1)); }),
          row("bce_with_logits_loss", {{300, 700}, {300, 700}},
              [](Args x) { return bce_with_logits_loss(x[0], sigmoid(x[1])); }),
          row("entropy", {{300, 700}}, [](Args x) { return entropy(softmax(x[0], 1)); }),
          row("huber_loss", {{300, 700}, {300, 700}}, [](Args x) { return huber_loss(x[0], x[1], 0.3); }),
          row("cosine_similarity", {{3000, 64}, {3000, 64}}, [](Args x) { return cosine_similarity(x[0], x[1]); })};
}

}  // namespace

TEST_CASE("op: the same bits for one, two and three threads, forward and backward") {
  if (default_device() != Device::cpu) return;  // a GPU does not know of threads here: the next case
  for (const auto& table : {reductions(), scans(), orders(), index_ops(), layers()})
    for (const Row& r : table)
      for (DType t : {DType::f32, DType::f64, DType::bf16}) {
        CAPTURE(r.name);
        CAPTURE(std::string(name(t)));
        CHECK(differs_with(r, t) == 0);
      }
}

TEST_CASE("op: the same bits in two runs on a GPU, whichever thread and block comes first, forward and backward") {
  if (default_device() != Device::cuda) return;
  for (const auto& table : {reductions(), scans(), orders(), index_ops(), layers()})
    for (const Row& r : table) {
      CAPTURE(r.name);
      const auto once = bits(r, DType::f32);
      const OtherWayRound scope;
      CHECK(bits(r, DType::f32) == once);
    }
}

TEST_CASE("op: the comparison of bits finds sums that depend on the number of threads, forward and backward") {
  // Each thread adds up its own share, and the shares are added up: the usual way, which is not ours.
  const auto shares = [](const Tensor& x) {
    const std::vector<float> v = x.to_vector<float>();
    float total = 0;
    const Chunks chunks{static_cast<i64>(v.size()), num_threads()};
    for (i64 c = 0; c < chunks.count; ++c) {
      float part = 0;
      for (i64 i = chunks.begin(c); i < chunks.end(c); ++i) part += v[static_cast<std::size_t>(i)];
      total += part;
    }
    return static_cast<double>(total);
  };
  const Row forward = row("a fault", {{100000}}, [&](Args x) { return full({1}, shares(x[0])); });
  const Row backward = row("a fault in the gradient", {{100000}}, [&](Args x) {
    return record("fault", x[0].detach(), {x[0]}, saves(kNone),
                  [&](const GradArgs& g) -> Grads { return {full(g.dy.shape(), shares(g.dy))}; });
  });
  CHECK(differs_with(forward, DType::f32) != 0);
  CHECK(differs_with(backward, DType::f32) != 0);
  CHECK(differs_with(row("none", {{100000}}, [](Args x) { return sum(x[0]); }), DType::f32) == 0);
}

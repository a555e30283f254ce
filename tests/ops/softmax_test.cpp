#include "ops/softmax.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
  Shape shape;
  Axes axes;
};
// Rows and strips, in pieces and whole; several axes, adjacent or not; sizes 0 and 1.
const Case kCases[] = {{{3, 5}, {1}},    {{3, 5}, {-2}},       {{4, 1}, {1}},          {{2, 3, 4}, {0}},
                       {{2, 3, 4}, {1}}, {{2, 3, 4}, {1, 2}},  {{2, 3, 4, 2}, {1, 2}}, {{2, 3, 4}, {0, 2}},
                       {{7}, {0}},       {{0, 3}, {1}},        {{3, 0}, {0}},          {{}, {}},
                       {{2, 3}, {0, 1}}, {{2, 3, 4}, {0, -1}}, {{2, 2, 2, 2}, {1, 3}}, {{2, 3}, {}}};

// f(x, largest of the group, sum of e^(x - largest)) for every element.
std::function<Tensor(Args)> naive(const Axes& axes, double (*f)(double, double, double)) {
  return [axes, f](Args in) {
    const Tensor& x = in[0];
    const auto group_of = [&](std::vector<i64> at) {
      for (int a : axes) at[static_cast<std::size_t>(a < 0 ? a + x.rank() : a)] = 0;
      return at;
    };
    std::map<std::vector<i64>, double> top, sum;
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      auto [entry, fresh] = top.try_emplace(group_of(at), -kInf);
      entry->second = std::max(entry->second, value_at(x, at));
    });
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      sum[group_of(at)] += std::exp(value_at(x, at) - top[group_of(at)]);
    });
    Tensor y = empty(x.shape(), DType::f64);
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      set_value(y, at, f(value_at(x, at), top[group_of(at)], sum[group_of(at)]));
    });
    return y;
  };
}

}  // namespace

TEST_CASE("softmax: forward, gradient, second order") {
  for (const Case& c : kCases) {
    CAPTURE(to_string(c.shape));
    CAPTURE(to_string(c.axes));
    check_op({.name = "softmax",
              .op = [&](Args a) { return softmax(a[0], c.axes); },
              .reference = naive(c.axes, [](double x, double top, double sum) { return std::exp(x - top) / sum; }),
              .inputs = {{c.shape, -3, 3}}});
  }
}

TEST_CASE("log_softmax: forward, gradient, second order") {
  for (const Case& c : kCases) {
    CAPTURE(to_string(c.shape));
    CAPTURE(to_string(c.axes));
    check_op({.name = "log_softmax",
              .op = [&](Args a) { return log_softmax(a[0], c.axes); },
              .reference = naive(c.axes, [](double x, double top, double sum) { return x - top - std::log(sum); }),
              .inputs = {{c.shape, -3, 3}}});
  }
}

TEST_CASE("logsumexp: forward, gradient, second order") {
  for (const Case& c : kCases) {
    CAPTURE(to_string(c.shape));
    CAPTURE(to_string(c.axes));
    for (const bool keep : {false, true})
      check_op({.name = "logsumexp",
                .op = [&](Args a) { return logsumexp(a[0], c.axes, keep); },
                .reference =
                    [&](Args a) {
                      const auto f = naive(c.axes, [](double, double top, double sum) { return top + std::log(sum); });
                      return amax(f(a), c.axes, keep);  // the same number all over the group
                    },
                .inputs = {{c.shape, -3, 3}}});
  }
}

TEST_CASE("softmax: long rows and strips, wide and narrow") {
  for (const Case& c : {Case{{2, 2500}, {1}}, Case{{5, 300}, {1}}, Case{{900, 3}, {1}}, Case{{40, 70}, {0}}}) {
    CAPTURE(to_string(c.shape));
    const std::vector<Input> inputs = {{c.shape, -8, 8}};
    check_op({.name = "softmax",
              .op = [&](Args a) { return softmax(a[0], c.axes); },
              .reference = naive(c.axes, [](double x, double top, double sum) { return std::exp(x - top) / sum; }),
              .inputs = inputs,
              .order = 0});
    check_op({.name = "log_softmax",
              .op = [&](Args a) { return log_softmax(a[0], c.axes); },
              .reference = naive(c.axes, [](double x, double top, double sum) { return x - top - std::log(sum); }),
              .inputs = inputs,
              .order = 0});
    check_op({.name = "logsumexp",
              .op = [&](Args a) { return logsumexp(a[0], c.axes, keep_dims) + zeros_like(a[0]); },
              .reference = naive(c.axes, [](double, double top, double sum) { return top + std::log(sum); }),
              .inputs = inputs,
              .order = 0});
  }
}

TEST_CASE("softmax: the gradient kernel agrees with the gradient's own graph") {
  for (const Case& c : {Case{{6, 33}, {1}}, Case{{3, 5, 70}, {1}}, Case{{4, 9}, {0, 1}}}) {
    for (auto* op : {+[](const Tensor&x, const Axes&axes) { return softmax(x, axes); },
                     +[](const Tensor&x, const Axes&axes) { return log_softmax(x, axes); }}) {
      Tensor x = random_tensor(c.shape, 3);
      x.requires_grad_();
      const Tensor dy = random_tensor(c.shape, 4);
      const Tensor y = op(x, c.axes);
      const Tensor composite = grad(y, {x}, dy, {.create_graph = true})[0], kernel = grad(y, {x}, dy)[0];
      CHECK_LE(difference(kernel, composite), 1e-14);  // a few roundings of numbers near 1
    }
  }
}

TEST_CASE("softmax: infinite and huge logits") {
  const Tensor x = tensor({{-kInf, 0, 0}, {-kInf, -kInf, -kInf}, {1e30, -1e30, 1e30}, {kNan, 0, 1}, {kInf, 0, 0}});
  const Tensor nan = full({3}, kNan);
  for (const bool columns : {false, true}) {  // the same groups as rows, and as columns of a strip
    const Tensor in = columns ? from_vector(transpose(x).to_vector<float>(), {3, 5}) : x;
    const int axis = columns ? 0 : 1;
    const auto group = [&](const Tensor& y, i64 i) { return columns ? y.index({kAll, i}) : y[i]; };
    const Tensor p = softmax(in, axis), log_p = log_softmax(in, axis), sum = logsumexp(in, axis);
    CHECK_LE(difference(group(p, 0), tensor({0, 0.5, 0.5})), 1e-6);
    CHECK_LE(difference(group(log_p, 0), tensor({-kInf, -std::log(2), -std::log(2)})), 1e-6);
    CHECK_LE(difference(group(p, 2), tensor({0.5, 0, 0.5})), 1e-6);
    CHECK_LE(difference(sum, tensor({std::log(2), -kInf, 1e30, kNan, kInf})), 1e-6);
    for (const i64 i : {1, 3, 4}) CHECK_EQ(difference(group(p, i), nan), 0);
    for (const i64 i : {1, 3}) CHECK_EQ(difference(group(log_p, i), nan), 0);
  }
}

TEST_CASE("softmax: the same bits for any number of threads") {
  const Tensor x = random_tensor({37, 500}, 1, -5, 5, DType::f32);
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    results.push_back(softmax(x, 1).to_vector<float>());
    const std::vector<float> strips = logsumexp(x, 0).to_vector<float>();
    results.back().insert(results.back().end(), strips.begin(), strips.end());
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("softmax: errors name the op, the rule and the shape") {
  CHECK_THROWS_WITH_AS(softmax(zeros({4, 8}), 2), "softmax: axis must be in [-2, 2); got 2 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(log_softmax(zeros({4, 0}), 1),
                       "log_softmax: there must be elements to normalise over; got axes [1] of x [4, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(logsumexp(zeros({4}, DType::i64), 0), "logsumexp: x must be f32, f64 or bf16; got i64",
                       DTypeError);
}

#include "ops/channel_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Moments {
  double mean, variance;
};

// Of all elements of x at indices that `counts` accepts; the variance divides by their number less `correction`.
Moments moments(const Tensor& x, const std::function<bool(const std::vector<i64>&)>& counts, double correction = 0) {
  double n = 0, mean = 0, square = 0;
  for_each_index(x.shape(), [&](const std::vector<i64>& at) {
    if (counts(at)) mean += value_at(x, at), ++n;
  });
  mean /= n;
  for_each_index(x.shape(), [&](const std::vector<i64>& at) {
    if (counts(at)) square += (value_at(x, at) - mean) * (value_at(x, at) - mean);
  });
  return {mean, square / (n - correction)};
}

// (x - mean) / sqrt(variance + eps) w + b for inputs x, w, b (the last two may be absent)
Tensor normalised(Args in, double eps, const std::function<Moments(const std::vector<i64>&)>& of) {
  const Tensor y = empty(in[0].shape(), DType::f64);
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    const Moments m = of(at);
    const double z = (value_at(in[0], at) - m.mean) / std::sqrt(m.variance + eps);
    set_value(y, at, in.size() > 2 ? z * value_at(in[1], {at[1]}) + value_at(in[2], {at[1]}) : z);
  });
  return y;
}

std::function<Tensor(Args)> naive_group(i64 groups, double eps) {
  return [=](Args in) {
    const i64 size = in[0].dim(1) / groups;
    return normalised(in, eps, [&](const std::vector<i64>& at) {
      return moments(in[0], [&](const std::vector<i64>& o) { return o[0] == at[0] && o[1] / size == at[1] / size; });
    });
  };
}
std::function<Tensor(Args)> naive_batch(double eps) {
  return [=](Args in) {
    return normalised(in, eps, [&](const std::vector<i64>& at) {
      return moments(in[0], [&](const std::vector<i64>& o) { return o[1] == at[1]; });
    });
  };
}

}  // namespace

TEST_CASE("group_norm: forward, gradient, second order, with and without scale and shift") {
  for (const Shape& shape : {Shape{2, 6, 3}, Shape{2, 4, 2, 3}, Shape{3, 4}, Shape{0, 4, 2}})
    for (const i64 groups : {i64{1}, i64{2}}) {
      check_op({.name = "group_norm",
                .op = [&](Args x) { return group_norm(x[0], groups, x[1], x[2]); },
                .reference = naive_group(groups, 1e-5),
                .inputs = {shape, {shape[1]}, {shape[1]}}});
      check_op({.name = "group_norm",
                .op = [&](Args x) { return group_norm(x[0], groups, {}, {}, 0.1); },
                .reference = naive_group(groups, 0.1),
                .inputs = {shape}});
    }
}

TEST_CASE("batch_norm: forward, gradient, second order, with and without scale and shift") {
  for (const Shape& shape : {Shape{5, 3}, Shape{2, 3, 2, 3}, Shape{1, 2, 4}, Shape{4, 0}}) {
    check_op({.name = "batch_norm",
              .op = [](Args x) { return batch_norm(x[0], x[1], x[2]); },
              .reference = naive_batch(1e-5),
              .inputs = {shape, {shape[1]}, {shape[1]}}});
    check_op({.name = "batch_norm",
              .op = [](Args x) { return batch_norm(x[0], {}, {}, 0.1); },
              .reference = naive_batch(0.1),
              .inputs = {shape}});
  }
}

TEST_CASE("batch_norm: with collected statistics; gradient to all five, second order") {
  for (const Shape& shape : {Shape{4, 3}, Shape{1, 3}, Shape{2, 3, 2}, Shape{0, 3}})
    check_op({.name = "batch_norm",
              .op =
                  [](Args x) {
                    return batch_norm(x[0], {x[3], x[4]}, x[1], x[2]);
                  },
              .reference =
                  [](Args x) {
                    return normalised(x, 1e-5, [&](const std::vector<i64>& at) {
                      return Moments{value_at(x[3], {at[1]}), value_at(x[4], {at[1]})};
                    });
                  },
              .inputs = {shape, {3}, {3}, {3}, Input({3}, 0.5, 2)}});
}

TEST_CASE("update_statistics: a moving average of the mean and the unbiased variance, without a gradient") {
  const auto naive = [](bool variance) {
    return [variance](Args in) {  // x, old mean, old variance
      const Tensor y = empty({in[0].dim(1)}, DType::f64);
      for (i64 c = 0; c < y.dim(0); ++c) {
        const Moments m = moments(
            in[0], [&](const std::vector<i64>& at) { return at[1] == c; }, 1);
        set_value(y, {c}, 0.75 * value_at(in[variance ? 2 : 1], {c}) + 0.25 * (variance ? m.variance : m.mean));
      }
      return y;
    };
  };
  for (const Shape& shape : {Shape{5, 2}, Shape{2, 2, 3}, Shape{4, 0}})
    for (const bool variance : {false, true})
      check_op({.name = "update_statistics",
                .op =
                    [&](Args x) {
                      const ChannelStatistics now = update_statistics({x[1], x[2]}, x[0], 0.25);
                      return variance ? now.variance : now.mean;
                    },
                .reference = naive(variance),
                .inputs = {shape, {shape[1]}, Input({shape[1]}, 0.5, 2)},
                .order = 0});
  Tensor x = random_tensor({5, 2}, 1);
  x.requires_grad_();
  CHECK_FALSE(update_statistics({zeros({2}, DType::f64), ones({2}, DType::f64)}, x).mean.requires_grad());
}

TEST_CASE("channel_norm: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 6, 3});
  CHECK_THROWS_WITH_AS(group_norm(x, 4, {}, {}),
                       "group_norm: groups must divide the channels; got groups = 4 for x [2, 6, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(group_norm(x, 0, {}, {}),
                       "group_norm: groups must divide the channels; got groups = 0 for x [2, 6, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(group_norm(zeros({2, 6, 0}), 2, {}, {}), "group_norm: groups must not be empty; got x [2, 6, 0]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(group_norm(x, 2, zeros({3}), {}),
                       "group_norm: w must have one value per channel; got w [3] and x [2, 6, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(zeros({6}), {}, {}), "batch_norm: x must be [N, C, ..]; got x [6]", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(zeros({1, 6}), {}, {}),
                       "batch_norm: a channel must have two values or more; got x [1, 6]", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(x, {}, zeros({6}, DType::f64)),
                       "batch_norm: operands must have one dtype; got f32 [2, 6, 3] and f64 [6]", DTypeError);
  CHECK_THROWS_WITH_AS(batch_norm(zeros({2, 3}, DType::i64), {}, {}), "batch_norm: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(batch_norm(x, {}, {}, -1), "batch_norm: eps must be >= 0; got eps = -1", Error);
  const ChannelStatistics old{zeros({6}), zeros({6})};
  CHECK_THROWS_WITH_AS(update_statistics(old, x, 2), "update_statistics: momentum must be in [0, 1]; got 2", Error);
  CHECK_THROWS_WITH_AS(update_statistics({zeros({6}), zeros({2})}, x),
                       "update_statistics: variance must have one value per channel; got variance [2] and x [2, 6, 3]",
                       ShapeError);
}

TEST_CASE("op: update_statistics: f32 and f64, strided") {
  for (const DType t : {DType::f32, DType::f64})
    check_op({.name = "update_statistics",
              .op =
                  [](Args x) {
                    return update_statistics({x[1], x[2]}, x[0], 0.25).mean;
                  },
              .reference =
                  [](Args x) {
                    Tensor y = zeros({2}, DType::f64);
                    for (i64 c = 0; c < 2; ++c) {
                      double sum = 0;
                      for (i64 n = 0; n < 5; ++n) sum += value_at(x[0], {n, c});
                      set_value(y, {c}, 0.75 * value_at(x[1], {c}) + 0.25 * sum / 5);
                    }
                    return y;
                  },
              .inputs = {Input::fixed(random_tensor({5, 2}, 1, -1, 1, t)), Input::fixed(tensor({1, 2}, t)),
                         Input::fixed(tensor({3, 4}, t))},
              .order = 0,
              .value_tolerance = t == DType::f64 ? 1e-14 : 1e-6,
              .f32 = false});
}

#include "ops/cross_entropy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::function<Tensor(Args)> naive(const CrossEntropyOptions& options) {
  return [options](Args in) {
    const Tensor &x = in[0], &targets = in[1];
    const i64 classes = x.dim(-1);
    Tensor losses = zeros(targets.shape(), DType::f64);
    double total = 0, rows = 0;
    for_each_index(targets.shape(), [&](const std::vector<i64>& at) {
      const i64 target = static_cast<i64>(value_at(targets, at));
      if (target == options.ignore_index) return;
      const auto logit = [&](i64 v) {
        std::vector<i64> own = at;
        own.push_back(v);
        return value_at(x, own);
      };
      const auto weight = [&](i64 v) { return in.size() > 2 ? value_at(in[2], {v}) : 1; };
      double sum = 0, loss = 0;
      for (i64 v = 0; v < classes; ++v) sum += std::exp(logit(v));
      for (i64 v = 0; v < classes; ++v) {
        const double even = options.label_smoothing / static_cast<double>(classes);
        loss -= weight(v) * (even + (v == target ? 1 - options.label_smoothing : 0)) * (logit(v) - std::log(sum));
      }
      set_value(losses, at, loss);
      total += loss;
      rows += weight(target);
    });
    if (options.reduction == Reduction::none) return losses;
    return scalar(options.reduction == Reduction::sum ? total : total / (rows == 0 ? 1 : rows), DType::f64);
  };
}

// Probabilities as targets: x [N, V], t [N, V], weights [V] if there are any.
std::function<Tensor(Args)> naive_soft(double smoothing) {
  return [smoothing](Args in) {
    const i64 rows = in[0].dim(0), classes = in[0].dim(1);
    double total = 0;
    for (i64 n = 0; n < rows; ++n) {
      double sum = 0;
      for (i64 v = 0; v < classes; ++v) sum += std::exp(value_at(in[0], {n, v}));
      for (i64 v = 0; v < classes; ++v) {
        const double q = (1 - smoothing) * value_at(in[1], {n, v}) + smoothing / static_cast<double>(classes);
        total -= q * (in.size() > 2 ? value_at(in[2], {v}) : 1) * (value_at(in[0], {n, v}) - std::log(sum));
      }
    }
    return scalar(total / static_cast<double>(std::max<i64>(rows, 1)), DType::f64);
  };
}

Tensor ints(const std::vector<i64>& values, const Shape& shape) { return from_vector(values, shape); }

}  // namespace

TEST_CASE("cross_entropy: forward, gradient, second order") {
  struct Case {
    Shape logits;
    Tensor targets;
  };
  const Case cases[] = {{{3, 5}, ints({4, 0, 4}, {3})},    {{2, 3, 4}, ints({0, -100, 3, -100, 1, 1}, {2, 3})},
                        {{2, 4}, ints({-100, -100}, {2})}, {{6}, ints({2}, {})},
                        {{3, 1}, ints({0, 0, 0}, {3})},    {{0, 4}, ints({}, {0})},
                        {{2, 40}, ints({39, 7}, {2})}};
  for (const Case& c : cases)
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
      for (const double smoothing : {0.0, 0.1, 1.0}) {
        CAPTURE(to_string(c.logits));
        CAPTURE(static_cast<int>(reduction));
        CAPTURE(smoothing);
        const CrossEntropyOptions options{.label_smoothing = smoothing, .reduction = reduction};
        check_op({.name = "cross_entropy",
                  .op = [&](Args x) { return cross_entropy(x[0], x[1], options); },
                  .reference = naive(options),
                  .inputs = {{c.logits, -3, 3}, Input::fixed(c.targets)}});
      }
}

TEST_CASE("cross_entropy: weights of the classes, with smoothing and ignored rows") {
  for (const Tensor& targets : {ints({1, -100, 3}, {3}), ints({-100, -100, -100}, {3})})
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
      for (const double smoothing : {0.0, 0.2}) {
        const CrossEntropyOptions options{.label_smoothing = smoothing, .reduction = reduction};
        check_op({.name = "cross_entropy",
                  .op =
                      [&](Args x) {
                        CrossEntropyOptions own = options;
                        own.weight = x[2];
                        return cross_entropy(x[0], x[1], own);
                      },
                  .reference = naive(options),
                  .inputs = {Input({3, 4}, -3, 3), Input::fixed(targets),
                             Input::fixed(tensor({0.5, 2, 0, 1.5}, DType::f64))}});
      }
}

TEST_CASE("cross_entropy: probabilities as targets have a gradient, too") {
  for (const double smoothing : {0.0, 0.3})
    for (const Shape& shape : {Shape{3, 4}, Shape{2, 1}, Shape{0, 4}}) {
      check_op({.name = "cross_entropy",
                .op = [&](Args x) { return cross_entropy(x[0], x[1], {.label_smoothing = smoothing}); },
                .reference = naive_soft(smoothing),
                .inputs = {Input(shape, -3, 3), Input(shape, 0, 1)}});
      const Shape classes{shape[1]};
      check_op({.name = "cross_entropy",
                .op = [&](Args x) { return cross_entropy(x[0], x[1], {.label_smoothing = smoothing, .weight = x[2]}); },
                .reference = naive_soft(smoothing),
                .inputs = {Input(shape, -3, 3), Input(shape, 0, 1), Input::fixed(random_tensor(classes, 3, 0.5, 2))}});
    }
}

TEST_CASE("cross_entropy, nll_loss: classes on another axis") {
  const Tensor x = random_tensor({2, 4, 3}, 1), last = contiguous(permute(x, {0, 2, 1}));
  const Tensor targets = ints({0, 2, 3, 1, -100, 1}, {2, 3}), soft = random_tensor({2, 4, 3}, 2, 0, 1);
  CHECK_EQ(difference(cross_entropy(x, targets, {.axis = 1}), cross_entropy(last, targets)), 0);
  CHECK_EQ(difference(nll_loss(x, targets, {.axis = 1}), nll_loss(last, targets)), 0);
  CHECK_LE(difference(cross_entropy(x, soft, {.axis = 1}), cross_entropy(last, permute(soft, {0, 2, 1}))), 1e-15);
}

TEST_CASE("nll_loss: forward, gradient, second order, weights, ignored rows") {
  const auto naive_nll = [](const NllOptions& options) {
    return [options](Args in) {  // log_p [N, V], targets [N], weight [V]
      const i64 rows = in[0].dim(0);
      Tensor losses = zeros({rows}, DType::f64);
      double total = 0, amount = 0;
      for (i64 n = 0; n < rows; ++n) {
        const i64 t = static_cast<i64>(value_at(in[1], {n}));
        if (t == options.ignore_index) continue;
        const double w = in.size() > 2 ? value_at(in[2], {t}) : 1;
        set_value(losses, {n}, -w * value_at(in[0], {n, t}));
        total -= w * value_at(in[0], {n, t}), amount += w;
      }
      if (options.reduction == Reduction::none) return losses;
      return scalar(options.reduction == Reduction::sum || amount == 0 ? total : total / amount, DType::f64);
    };
  };
  for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
    for (const Tensor& targets : {ints({1, 3, 0}, {3}), ints({2, 0, 2}, {3}), ints({2, 2, 2}, {3}), ints({}, {0})}) {
      const NllOptions options{.ignore_index = 2, .reduction = reduction};
      const Input x({targets.dim(0), 4}, -3, 0);
      check_op({.name = "nll_loss",
                .op = [&](Args in) { return nll_loss(in[0], in[1], options); },
                .reference = naive_nll(options),
                .inputs = {x, Input::fixed(targets)}});
      check_op({.name = "nll_loss",
                .op =
                    [&](Args in) {
                      return nll_loss(in[0], in[1], {.ignore_index = 2, .reduction = reduction, .weight = in[2]});
                    },
                .reference = naive_nll(options),
                .inputs = {x, Input::fixed(targets), Input::fixed(tensor({0.5, 2, 3, 1.5}, DType::f64))}});
    }
}

TEST_CASE("cross_entropy: a class can be the ignored one") {
  const CrossEntropyOptions options{.ignore_index = 2};
  check_op({.name = "cross_entropy",
            .op = [&](Args x) { return cross_entropy(x[0], x[1], options); },
            .reference = naive(options),
            .inputs = {{3, 4}, Input::fixed(ints({2, 1, 2}, {3}))}});
}

TEST_CASE("cross_entropy, nll_loss: an ignored index that no double holds") {
  const Tensor x = tensor({{1, 2}, {3, 5}}, DType::f64);
  for (const i64 index : {(i64{1} << 53) + 1, -(i64{1} << 53) - 1, std::numeric_limits<i64>::lowest(),
                          std::numeric_limits<i64>::max(), i64{-1}}) {
    const Tensor targets = ints({0, index}, {2});
    const Tensor first = cross_entropy(slice(x, 0, {0, 1}), ints({0}, {1}));
    CHECK_EQ(difference(cross_entropy(x, targets, {.ignore_index = index}), first), 0);
    CHECK_EQ(nll_loss(x, targets, {.ignore_index = index}).item(), -1);
    const Tensor smooth = cross_entropy(slice(x, 0, {0, 1}), ints({0}, {1}), {.label_smoothing = 0.5});
    Tensor leaf = x * 1.0;
    leaf.requires_grad_();
    const Tensor y = cross_entropy(leaf, targets, {.label_smoothing = 0.5, .ignore_index = index});
    CHECK_EQ(difference(y, smooth), 0);
    CHECK_EQ(difference(slice(grad(y, {leaf}, {.create_graph = true})[0], 0, {1}), zeros({1, 2}, DType::f64)), 0);
  }
}

TEST_CASE("cross_entropy: no row counts, so the loss and its gradient are 0") {
  Tensor x = tensor({{1, 2}, {3, 4}});
  x.requires_grad_();
  const Tensor y = cross_entropy(x, ints({-100, -100}, {2}));
  CHECK_EQ(y.item(), 0);
  CHECK_EQ(difference(grad(y, {x})[0], zeros({2, 2})), 0);
}

TEST_CASE("cross_entropy: huge and infinite logits") {
  const double infinity = std::numeric_limits<double>::infinity();
  Tensor x = tensor({{1e4, 0, -1e4}, {-infinity, 0, 0}, {0, 1e30, 0}});
  x.requires_grad_();
  const Tensor y = cross_entropy(x, ints({1, 1, 1}, {3}), {.reduction = Reduction::none});
  CHECK_LE(difference(y, tensor({1e4, std::log(2.0), 0})), 1e-6);
  const Tensor dx = grad(y, {x}, ones({3}))[0];
  CHECK_LE(difference(dx, tensor({{1, -1, 0}, {0, -0.5, 0.5}, {0, 0, 0}})), 1e-6);
}

TEST_CASE("cross_entropy: the gradient kernel agrees with the twin, with any number of threads") {
  Tensor x = random_tensor({300, 65}, 1, -4, 4);
  x.requires_grad_();
  std::vector<i64> classes;
  for (i64 i = 0; i < 300; ++i) classes.push_back(i % 7 == 0 ? -100 : i * 31 % 65);
  const Tensor targets = ints(classes, {300});
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const Tensor y = cross_entropy(x, targets, {.label_smoothing = 0.2});
    CHECK_LE(difference(grad(y, {x}, {.retain_graph = true})[0], grad(y, {x}, {.create_graph = true})[0]), 1e-15);
  }
  set_num_threads(before);
}

TEST_CASE("cross_entropy: errors name the rule and the operands") {
  const Tensor x = zeros({2, 3, 4});
  CHECK_THROWS_WITH_AS(
      (cross_entropy(x, ints({0, 1, 2, 3, 0, 4}, {2, 3})), settle()),
      bad_value("cross_entropy: targets must be in [0, 4) or the ignored index -100; got 4", " at [1, 2]"), IndexError);
  CHECK_THROWS_WITH_AS(
      cross_entropy(x, ints({0, 1}, {2})),
      "cross_entropy: logits must be [.., V] with V >= 1 and targets [..]; got logits [2, 3, 4] and targets [2]",
      ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, zeros({2, 3}, DType::i32)),
                       "cross_entropy: targets must be i64; got i32 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(
      cross_entropy(x, zeros({2, 3})),
      "cross_entropy: logits and probabilities must be [.., V]; got logits [2, 3, 4] and targets [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, zeros({2, 3, 4}, DType::f64)),
                       "cross_entropy: operands must have one dtype; got f32 [2, 3, 4] and f64 [2, 3, 4]", DTypeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ints({0, 0, 0, 0, 0, 0}, {2, 3}), {.weight = zeros({3})}),
                       "cross_entropy: weight must be [V]; got weight [3] for logits [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, x, {.weight = zeros({3})}),
                       "cross_entropy: weight must be [V]; got weight [3] for logits [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS((nll_loss(zeros({2, 3}), ints({0, 3}, {2})), settle()),
                       bad_value("nll_loss: targets must be in [0, 3) or the ignored index -100; got 3", " at [1]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(nll_loss(zeros({2, 3}), ints({0}, {1})),
                       "nll_loss: log_p must be [.., V] with V >= 1 and targets [..]; got log_p [2, 3] and targets [1]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      cross_entropy(zeros({2, 0}), ints({0, 0}, {2})),
      "cross_entropy: logits must be [.., V] with V >= 1 and targets [..]; got logits [2, 0] and targets "
      "[2]",
      ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(zeros({2, 0, 3}), zeros({2, 0, 3}), {.axis = 1}),
                       "cross_entropy: there must be classes; got axis 1 of logits [2, 0, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ints({0, 1, 2, 3, 0, 1}, {2, 3}), {.label_smoothing = 1.5}),
                       "cross_entropy: label_smoothing must be in [0, 1]; got 1.5", Error);
}

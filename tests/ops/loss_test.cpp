#include "ops/loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr Reduction kReductions[] = {Reduction::mean, Reduction::sum, Reduction::none, Reduction::batch_mean};

double huber_of(double d, double delta) { return std::abs(d) <= delta ? d * d / 2 : delta * (std::abs(d) - delta / 2); }

struct Row {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&, Reduction);
  double (*naive)(double);  // of x - target
};
const Row kRows[] = {
    {"mse_loss", mse_loss, [](double d) { return d * d; }},
    {"l1_loss", l1_loss, [](double d) { return std::abs(d); }},
    {"huber_loss", [](const Tensor& x, const Tensor& t, Reduction r) { return huber_loss(x, t, 0.4, r); },
     [](double d) { return huber_of(d, 0.4); }},
    {"smooth_l1_loss", [](const Tensor& x, const Tensor& t, Reduction r) { return smooth_l1_loss(x, t, 0.7, r); },
     [](double d) { return huber_of(d, 0.7) / 0.7; }},
    {"smooth_l1_loss", [](const Tensor& x, const Tensor& t, Reduction r) { return smooth_l1_loss(x, t, 0, r); },
     [](double d) { return std::abs(d); }},
};

// The losses f(x, target), reduced in plain loops.
std::function<Tensor(Args)> naive(std::function<double(double)> f, Reduction reduction) {
  return [=](Args in) {
    const Shape shape = in[0].shape();
    Tensor losses = empty(shape, DType::f64);
    double total = 0;
    for_each_index(shape, [&](const std::vector<i64>& at) {
      set_value(losses, at, f(value_at(in[0], at) - value_at(in[1], at)));
      total += value_at(losses, at);
    });
    if (reduction == Reduction::none) return losses;
    const i64 count = reduction == Reduction::sum ? 1 : reduction == Reduction::mean ? shape.elements() : shape[0];
    return scalar(total / static_cast<double>(count), DType::f64);
  };
}

}  // namespace

TEST_CASE("loss: forward, gradient, second order, every reduction") {
  for (const Row& row : kRows)
    for (const Reduction reduction : kReductions)
      for (const Shape& shape : {Shape{3, 4}, Shape{2, 3, 2}, Shape{1}}) {
        CAPTURE(row.name);
        check_op({.name = row.name,
                  .op = [&](Args x) { return row.op(x[0], x[1], reduction); },
                  .reference = naive(row.naive, reduction),
                  .inputs = {shape, shape}});
      }
}

TEST_CASE("loss: nothing to add up gives 0; nothing to average is an error") {
  for (const Row& row : kRows) {
    check_op({.name = row.name,
              .op = [&](Args x) { return row.op(x[0], x[1], Reduction::sum); },
              .reference = naive(row.naive, Reduction::sum),
              .inputs = {{0, 3}, {0, 3}}});
    const Tensor x = zeros({0, 3});
    const std::string text = std::string(row.name) + ": there must be elements to average over; got losses [0, 3]";
    CHECK_THROWS_WITH_AS(row.op(x, x, Reduction::mean), text.c_str(), ShapeError);
    CHECK_EQ(row.op(x, x, Reduction::none).shape(), Shape{0, 3});
  }
}

TEST_CASE("loss: kinks, and values far away") {
  const Tensor x = tensor({0, 1, -1, 1e30}, DType::f64).requires_grad_(), target = zeros({4}, DType::f64);
  const auto slope = [&](const Tensor& y) { return grad(y, {x})[0].to_vector<double>(); };
  CHECK(slope(l1_loss(x, target, Reduction::sum)) == std::vector<double>{0, 1, -1, 1});
  CHECK(slope(huber_loss(x, target, 1, Reduction::sum)) == std::vector<double>{0, 1, -1, 1});
  CHECK(slope(smooth_l1_loss(x, target, 1, Reduction::sum)) == std::vector<double>{0, 1, -1, 1});
  CHECK(huber_loss(x, target, 1, Reduction::none).to_vector<double>() == std::vector<double>{0, 0.5, 0.5, 1e30});
  CHECK(std::isnan(huber_loss(scalar(std::nan("")), scalar(0)).item()));
}

TEST_CASE("loss: an average of bf16 is rounded once") {
  const Tensor x = tensor({1, 2, 4}, DType::bf16), zero = zeros({3}, DType::bf16);
  const double third = scalar(7.0 / 3, DType::bf16).item();  // 1 / 3 in bf16 would give a neighbour
  CHECK_EQ(l1_loss(x, zero).item(), third);
  CHECK_EQ(l1_loss(x, zero, Reduction::batch_mean).item(), third);
  CHECK_EQ(l1_loss(x, zero, Reduction::sum).item(), 7);
  CHECK_EQ(l1_loss(x, zero).dtype(), DType::bf16);
}

TEST_CASE("loss: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(mse_loss(x, zeros({3})),
                       "mse_loss: x and target must have one shape; got x [2, 3] and target [3]", ShapeError);
  CHECK_THROWS_WITH_AS(l1_loss(x, zeros({2, 3}, DType::f64)),
                       "l1_loss: operands must have one dtype; got f32 [2, 3] and f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(mse_loss(zeros({2}, DType::i64), zeros({2}, DType::i64)),
                       "mse_loss: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(mse_loss(zeros({0, 3}), zeros({0, 3})),
                       "mse_loss: there must be elements to average over; got losses [0, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(l1_loss(scalar(1), scalar(2), Reduction::batch_mean),
                       "l1_loss: there must be a first axis to average over; got losses []", ShapeError);
  CHECK_THROWS_WITH_AS(huber_loss(x, x, 0), "huber_loss: delta must be > 0; got delta = 0", Error);
  CHECK_THROWS_WITH_AS(smooth_l1_loss(x, x, -1), "smooth_l1_loss: beta must be >= 0; got beta = -1", Error);
}

#include "ops/products.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("outer: forward, gradient, second order; integers") {
  for (const auto& [m, n] : {std::pair<i64, i64>{3, 4}, {1, 1}, {0, 2}})
    check_op({.name = "outer",
              .op = [](Args x) { return outer(x[0], x[1]); },
              .reference =
                  [](Args x) {
                    Tensor y = empty({x[0].dim(0), x[1].dim(0)}, DType::f64);
                    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                      set_value(y, at, value_at(x[0], {at[0]}) * value_at(x[1], {at[1]}));
                    });
                    return y;
                  },
              .inputs = {Shape{m}, Shape{n}}});
  CHECK(outer(arange(1, 3), arange(0, 2)).to_vector<i64>() == std::vector<i64>{0, 1, 0, 2});
}

TEST_CASE("addmm: forward, gradient, second order, x broadcast; beta = 0 ignores x") {
  const auto naive = [](double beta, double alpha) {
    return [=](Args in) {  // x [m, n] or broadcasting to it, a [m, k], b [k, n]
      const i64 m = in[1].dim(0), k = in[1].dim(1), n = in[2].dim(1);
      Tensor y = empty({m, n}, DType::f64);
      for_each_index(y.shape(), [&](const std::vector<i64>& at) {
        std::vector<i64> own(at.end() - in[0].rank(), at.end());
        for (int i = 0; i < in[0].rank(); ++i)
          if (in[0].dim(i) == 1) own[static_cast<std::size_t>(i)] = 0;
        double total = beta * value_at(in[0], own);
        for (i64 i = 0; i < k; ++i) total += alpha * value_at(in[1], {at[0], i}) * value_at(in[2], {i, at[1]});
        set_value(y, at, total);
      });
      return y;
    };
  };
  for (const Shape& x : {Shape{2, 4}, Shape{4}, Shape{2, 1}, Shape{}})
    for (const auto& [beta, alpha] : {std::pair{1.0, 1.0}, {-0.5, 2.0}})
      check_op({.name = "addmm",
                .op = [beta = beta, alpha = alpha](Args in) { return addmm(in[0], in[1], in[2], beta, alpha); },
                .reference = naive(beta, alpha),
                .inputs = {x, {2, 3}, {3, 4}}});
  check_op({.name = "addmm",
            .op = [](Args in) { return addmm(in[0], in[1], in[2]); },
            .reference = naive(1, 1),
            .inputs = {{0, 4}, {0, 3}, {3, 4}}});
  const Tensor y = addmm(scalar(std::nan("")), ones({1, 2}), ones({2, 1}), 0);
  CHECK_EQ(y.item(), 2);
}

TEST_CASE("bilinear: forward, gradient, second order, several axes before, with and without b") {
  const auto naive = [](Args in) {
    const Tensor &x = in[0], &z = in[1], &w = in[2];
    Shape shape = x.shape();
    shape.back() = w.dim(0);
    Tensor y = empty(shape, DType::f64);
    for_each_index(shape, [&](std::vector<i64> at) {
      const std::vector<i64> to = at;
      double total = in.size() > 3 ? value_at(in[3], {to.back()}) : 0;
      for (i64 i = 0; i < w.dim(1); ++i)
        for (i64 j = 0; j < w.dim(2); ++j) {
          at.back() = i;
          const double first = value_at(x, at);
          at.back() = j;
          total += first * value_at(w, {to.back(), i, j}) * value_at(z, at);
        }
      set_value(y, to, total);
    });
    return y;
  };
  for (const Shape& rows : {Shape{3}, Shape{2, 3}, Shape{}, Shape{0}}) {
    Shape x = rows, z = rows;
    x.push_back(2), z.push_back(4);
    check_op({.name = "bilinear",
              .op = [](Args in) { return bilinear(in[0], in[1], in[2], in[3]); },
              .reference = naive,
              .inputs = {x, z, {5, 2, 4}, {5}}});
    check_op({.name = "bilinear",
              .op = [](Args in) { return bilinear(in[0], in[1], in[2]); },
              .reference = naive,
              .inputs = {x, z, {5, 2, 4}}});
  }
}

TEST_CASE("products: error texts name the op, the rule and the operands") {
  const Tensor v = zeros({3}), m = zeros({2, 3});
  CHECK_THROWS_WITH_AS(outer(v, m), "outer: a and b must be vectors; got a [3] and b [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(outer(v, zeros({3}, DType::f64)), "outer: operands must have one dtype; got f32 [3] and f64 [3]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(addmm(v, m, m),
                       "addmm: a must be [m, k], b [k, n], and x broadcast to [m, n]; got x [3], a [2, 3] and b [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(addmm(v, m, zeros({3, 2})),
                       "addmm: a must be [m, k], b [k, n], and x broadcast to [m, n]; got x [3], a [2, 3] and b [3, 2]",
                       ShapeError);
  const Tensor whole = zeros({2, 2}, DType::i64);
  CHECK_THROWS_WITH_AS(addmm(whole, whole, whole), "addmm: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(
      bilinear(m, zeros({3, 4}), zeros({5, 3, 4})),
      "bilinear: x must be [.., m], z [.., n], w [O, m, n] and b [O]; got x [2, 3], z [3, 4], w [5, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(
      bilinear(m, m, zeros({5, 3, 3}), v),
      "bilinear: x must be [.., m], z [.., n], w [O, m, n] and b [O]; got x [2, 3], z [2, 3], w [5, 3, 3] "
      "and b [3]",
      ShapeError);
}

#include "ops/matmul.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Both operands with at least two axes: plain triple loop per entry of the broadcast batch.
Tensor naive_matrices(const Tensor& a, const Tensor& b) {
  const auto batch = [](const Tensor& x) { return Shape(x.shape().begin(), x.shape().end() - 2); };
  Shape shape = broadcast("naive", batch(a), batch(b));
  shape.push_back(a.dim(-2));
  shape.push_back(b.dim(-1));
  Tensor y = empty(shape, DType::f64);
  for_each_index(shape, [&](const std::vector<i64>& at) {
    const auto own = [&](const Tensor& x) {
      std::vector<i64> i(at.end() - x.rank(), at.end());
      for (int k = 0; k < x.rank() - 2; ++k)
        if (x.shape()[k] == 1) i[static_cast<std::size_t>(k)] = 0;
      return i;
    };
    std::vector<i64> p = own(a), q = own(b);
    double total = 0;
    for (i64 k = 0; k < a.dim(-1); ++k) {
      p.back() = k;
      q[q.size() - 2] = k;
      total += value_at(a, p) * value_at(b, q);
    }
    set_value(y, at, total);
  });
  return y;
}
Tensor with_shape(const Tensor& x, const Shape& shape) { return from_vector(x.to_vector<double>(), shape); }
Tensor naive(Args x) {
  Tensor a = x[0], b = x[1];
  if (a.rank() == 1) a = with_shape(a, {1, a.dim(0)});
  if (b.rank() == 1) b = with_shape(b, {b.dim(0), 1});
  const Tensor y = naive_matrices(a, b);
  Shape shape = y.shape();
  if (x[1].rank() == 1) shape.erase(shape.rank() - 1);
  if (x[0].rank() == 1) shape.erase(shape.rank() - 1 - (x[1].rank() == 1 ? 0 : 1));
  return with_shape(y, shape);
}
Tensor product(Args x) { return matmul(x[0], x[1]); }

}  // namespace

TEST_CASE("matmul: matrices, vectors, batches, broadcast batches, sizes 0 and 1; order 2; strided") {
  const std::pair<Shape, Shape> rows[] = {
      {{3, 4}, {4, 5}},
      {{1, 4}, {4, 1}},
      {{3, 1}, {1, 2}},
      {{1, 1}, {1, 1}},
      {{4}, {4}},
      {{4}, {4, 3}},
      {{2, 4}, {4}},
      {{4}, {2, 4, 3}},
      {{2, 3, 4}, {4}},
      {{2, 3, 4}, {4, 2}},
      {{2, 3, 4}, {2, 4, 2}},
      {{3, 4}, {2, 4, 2}},
      {{2, 1, 3, 4}, {3, 4, 2}},
      {{1, 3, 4}, {2, 4, 2}},
      {{0, 4}, {4, 3}},
      {{3, 0}, {0, 2}},
      {{3, 4}, {4, 0}},
      {{0, 3, 4}, {0, 4, 2}},
      {{2, 3, 0}, {2, 0, 2}},
      {{0}, {0}},
  };
  for (const auto& [a, b] : rows) {
    CAPTURE(to_string(a));
    CAPTURE(to_string(b));
    check_op({.name = "matmul", .op = product, .reference = naive, .inputs = {a, b}});
  }
}

TEST_CASE("matmul: operands in every layout are read as they lie or copied, never misread") {
  const Tensor x = random_tensor({3, 6, 8}, 1), w = random_tensor({3, 8, 6}, 2);
  const auto views = [](const Tensor& t) {
    return std::vector<Tensor>{t,
                               flip(t, 0),
                               flip(t, 1),
                               flip(t, 2),
                               slice(slice(t, 1, {1, 5}), 2, {2, 6}),
                               slice(t, 2, {0, kEnd, 2}),
                               slice(t, 1, {0, kEnd, 2}),
                               expand(slice(t, 0, {1, 2}), t.shape()),
                               expand(slice(t, 1, {1, 2}), t.shape()),
                               expand(slice(t, 2, {1, 2}), t.shape())};
  };
  for (const Tensor& a : views(x)) {
    for (const Tensor& b : views(w))
      if (a.dim(2) == b.dim(1)) CHECK(difference(matmul(a, b), naive_matrices(a, b)) < 1e-14);
    const Tensor b = transpose(a);
    CHECK(difference(matmul(a, b), naive_matrices(a, b)) < 1e-14);
    CHECK(difference(matmul(b, a), naive_matrices(b, a)) < 1e-14);
    CHECK(difference(matmul(a[0], b[0]), naive_matrices(a[0], b[0])) < 1e-14);
  }
}

TEST_CASE("matmul: large products and batches for one, two and three threads") {
  const int threads = num_threads();
  const Tensor a = random_tensor({40, 30, 50}, 1), b = random_tensor({40, 50, 20}, 2);
  const Tensor expected = naive_matrices(a, b), first = naive_matrices(a[0], b[0]);
  for (int count : {1, 2, 3}) {
    set_num_threads(count);
    CHECK(difference(matmul(a, b), expected) < 1e-14);
    CHECK(difference(matmul(a[0], b[0]), first) < 1e-14);
  }
  set_num_threads(threads);
}

TEST_CASE("matmul: the gradient of a transposed weight has the layout of the weight") {
  const Tensor x = random_tensor({5, 3}, 1), w = random_tensor({4, 3}, 2).requires_grad_();
  const Tensor dw = grad(matmul(x, transpose(w)), {w}, random_tensor({5, 4}, 3))[0];
  CHECK(dw.is_contiguous());
}

TEST_CASE("linear: y = x w^T + b, with and without b") {
  check_op({.name = "linear",
            .op = [](Args a) { return linear(a[0], a[1], a[2]); },
            .reference =
                [](Args a) {
                  Tensor y = empty({2, 5, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& i) {
                    double total = value_at(a[2], {i[2]});
                    for (i64 k = 0; k < 3; ++k) total += value_at(a[0], {i[0], i[1], k}) * value_at(a[1], {i[2], k});
                    set_value(y, i, total);
                  });
                  return y;
                },
            .inputs = {{2, 5, 3}, {4, 3}, {4}}});
  check_op({.name = "linear", .op = [](Args a) { return linear(a[0], a[1]); }, .inputs = {{3}, {4, 3}}});
  check_op({.name = "linear", .op = [](Args a) { return linear(a[0], a[1]); }, .inputs = {{0, 3}, {4, 3}}});
}

TEST_CASE("matmul and linear: error texts") {
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3}), zeros({4, 5})),
                       "matmul: inner sizes must match; got a [2, 3] and b [4, 5] (3 != 4)", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3}), zeros({4})),
                       "matmul: inner sizes must match; got a [2, 3] and b [4] (3 != 4)", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(scalar(1), zeros({4})),
                       "matmul: operands must have an axis to sum over; got a [] and b [4]", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3, 4}), zeros({5, 4, 2})),
                       "matmul: batch sizes must match or be 1; got a [2, 3, 4] and b [5, 4, 2] (2 != 5)", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3}), zeros({3, 2}, DType::f64)),
                       "matmul: operands must have one dtype; got f32 [2, 3] and f64 [3, 2]", DTypeError);
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 2}, DType::i64), zeros({2, 2}, DType::i64)),
                       "matmul: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(linear(zeros({2, 3}), zeros({3})), "linear: w must be [out, in]; got w [3]", ShapeError);
  CHECK_THROWS_WITH_AS(linear(zeros({2, 3}), zeros({4, 5})),
                       "linear: the last axis of x must be as long as that of w; got x [2, 3] and w [4, 5]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(linear(zeros({2, 3}), zeros({4, 3}), zeros({2, 1})),
                       "linear: b must be [out]; got b [2, 1] for w [4, 3]", ShapeError);
}

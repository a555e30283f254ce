#include "ops/global_norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/parallel.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("global_norm: of several tensors, strided ones too, for every p; any number of threads") {
  const Tensor a = random_tensor({70, 1001}, 1), b = strided_copy(random_tensor({3, 4}, 2)),
               c = random_tensor({5}, 3, -1, 1, DType::f32);
  const Tensor xs[] = {a, b, c};
  const int before = num_threads();
  for (const double p : {1.0, 2.0, 3.5, std::numeric_limits<double>::infinity()}) {
    double total = 0;
    for (const Tensor& x : xs)
      for (const double v : x.to_vector<double>())
        total = std::isinf(p) ? std::max(total, std::abs(v)) : total + std::pow(std::abs(v), p);
    const double expected = std::isinf(p) ? total : std::pow(total, 1 / p);
    CAPTURE(p);
    set_num_threads(1);
    const double one = global_norm(xs, p).item();
    CHECK(one == doctest::Approx(expected).epsilon(1e-13));
    set_num_threads(2);
    CHECK(global_norm(xs, p).item() == one);
    CHECK(global_norm({}, p).item() == 0);
    const Tensor broken[] = {c, tensor({NAN, 2})};
    CHECK(std::isnan(global_norm(broken, p).item()));
  }
  set_num_threads(before);
  for (const DType dtype : {DType::f32, DType::f64})
    for (const Shape& shape : {Shape{3, 4}, Shape{0, 2}})
      check_op({.name = "global_norm",
                .op = [](Args x) { return global_norm(x); },
                .reference =
                    [](Args x) {
                      double total = 0;
                      for (const Tensor& each : x)
                        for (double v : each.to_vector<double>()) total += v * v;
                      return scalar(std::sqrt(total), DType::f64);
                    },
                .inputs = {Input::fixed(random_tensor(shape, 1, -1, 1, dtype)),
                           Input::fixed(random_tensor(shape, 2, -1, 1, dtype))},
                .order = 0,
                .f32 = false});
}

TEST_CASE("global_norm: errors") {
  const Tensor ints[] = {zeros({2}, DType::i64)};
  CHECK_THROWS_WITH_AS(global_norm(ints), "global_norm: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(global_norm({}, 0), "global_norm: p must be above 0; got 0", Error);
}

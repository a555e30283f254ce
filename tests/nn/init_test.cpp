#include "nn/init.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/linear.h"

using namespace moegrad;

namespace {

struct Range {
  double low, high, deviation;
};
Range range_of(const Tensor& x) {
  const auto v = x.to_vector<double>();
  double square = 0;
  for (const double e : v) square += e * e;
  return {*std::min_element(v.begin(), v.end()), *std::max_element(v.begin(), v.end()),
          std::sqrt(square / static_cast<double>(v.size()))};
}

}  // namespace

TEST_CASE("init: bounds and deviations, each parameter with its own draw") {
  Random random(3);
  Init init(random);
  const Range k = range_of(init.kaiming_uniform({200, 300}, 300, std::sqrt(2.0)));
  CHECK(k.high <= std::sqrt(6.0 / 300));
  CHECK(k.high > 0.999 * std::sqrt(6.0 / 300));
  CHECK(k.low < -0.999 * std::sqrt(6.0 / 300));
  CHECK(k.deviation == doctest::Approx(std::sqrt(2.0 / 300)).epsilon(0.01));
  CHECK(range_of(init.xavier_uniform({200, 300}, 300, 200)).high ==
        doctest::Approx(std::sqrt(6.0 / 500)).epsilon(1e-3));
  CHECK(range_of(init.normal({200, 300}, 0.02)).deviation == doctest::Approx(0.02).epsilon(0.02));
  const Range cut = range_of(init.truncated_normal({200, 300}, 3));
  CHECK(cut.high <= 6);
  CHECK(cut.high > 5.9);
  CHECK(cut.low >= -6);
  CHECK(cut.low < -5.9);
  CHECK(cut.deviation == doctest::Approx(3 * 0.8796).epsilon(0.01));
  CHECK(init.truncated_normal({0}, 1).requires_grad());
  CHECK(init.normal({4}, 1).to_vector<float>() != init.normal({4}, 1).to_vector<float>());
  CHECK(init.ones({2}).to_vector<float>() == std::vector<float>{1, 1});
  CHECK(init.zeros({2}).requires_grad());
  CHECK(Init(random, DType::f64).normal({2}, 1).dtype() == DType::f64);
}

TEST_CASE("init: a model of shapes only counts parameters without memory, and takes no weights") {
  const i64 before = memory::stats().current_bytes;
  Init init = Init::shapes_only();
  Linear huge(1'000'000, 1'000'000, init);
  CHECK(huge.parameter_count() == 1'000'001'000'000);
  huge.to(DType::bf16);
  CHECK(huge.weight.dtype() == DType::bf16);
  CHECK(huge.weight.shape() == Shape{1'000'000, 1'000'000});
  CHECK(huge.weight.requires_grad());
  CHECK(memory::stats().current_bytes - before < 1000);
  Linear small(2, 2, init);
  CHECK_THROWS_WITH_AS(small.load_state_dict({{"weight", zeros({2, 2})}, {"bias", zeros({2})}}),
                       "load_state_dict: names, shapes and dtypes must match; got different: weight (shape only: it "
                       "was made without values), bias (shape only: it was made without values)",
                       Error);
}

TEST_CASE("init: orthogonal rows, or columns where they are fewer") {
  Random random(3);
  Init init(random, DType::f64);
  for (const Shape& shape : {Shape{4, 4}, Shape{3, 7}, Shape{8, 4}, Shape{1, 5}, Shape{0, 3}}) {
    const Tensor w = init.orthogonal(shape, 2);
    REQUIRE_EQ(w.shape(), shape);
    CHECK(w.requires_grad());
    const i64 rows = shape[0], columns = shape[1], n = std::min(rows, columns);
    const auto v = w.to_vector<double>();
    const auto at = [&](i64 i, i64 k) {
      return v[static_cast<std::size_t>(rows <= columns ? i * columns + k : k * columns + i)];
    };
    for (i64 i = 0; i < n; ++i)
      for (i64 j = 0; j < n; ++j) {
        double dot = 0;
        for (i64 k = 0; k < std::max(rows, columns); ++k) dot += at(i, k) * at(j, k);
        CHECK(std::abs(dot - (i == j ? 4 : 0)) < 1e-13);
      }
  }
  CHECK(init.orthogonal({2, 2}).to_vector<double>() != init.orthogonal({2, 2}).to_vector<double>());
  CHECK(Init::shapes_only().orthogonal({3, 4}).shape() == Shape{3, 4});
  CHECK_THROWS_WITH_AS(init.orthogonal({3}), "init: orthogonal: shape must be [rows, columns]; got [3]", ShapeError);
}

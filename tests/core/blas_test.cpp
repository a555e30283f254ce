#include "core/blas.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/errors.h"

using namespace moegrad;

namespace {

// rows of `stride` elements; the gap behind each row is NaN, so that reading it shows.
template <class F> struct Matrix {
  i64 rows, columns, stride;
  std::vector<F> values;
  Matrix(i64 r, i64 c, i64 gap, u64 seed) : rows(r), columns(c), stride(c + gap) {
    std::mt19937_64 engine(seed);
    std::uniform_real_distribution<F> uniform(-1, 1);
    values.assign(static_cast<std::size_t>(std::max<i64>(r * stride, 1)), std::numeric_limits<F>::quiet_NaN());
    for (i64 i = 0; i < r; ++i)
      for (i64 j = 0; j < c; ++j) at(i, j) = uniform(engine);
  }
  F& at(i64 i, i64 j) { return values[static_cast<std::size_t>(i * stride + j)]; }
  // Element (i, j) of the matrix or of its transpose.
  double get(i64 i, i64 j, bool transposed) { return transposed ? at(j, i) : at(i, j); }
};

template <class F> double tolerance(i64 k) {
  return 4 * std::numeric_limits<F>::epsilon() * static_cast<double>(k + 2);
}

struct Case {
  i64 m, n, k, gap;
  double alpha, beta;
};
const Case kCases[] = {{3, 4, 5, 0, 1, 0},  {3, 4, 5, 3, 1, 0},      {1, 1, 1, 0, 2, 0}, {1, 7, 3, 2, 1, 1},
                       {7, 1, 3, 2, 1, -1}, {33, 65, 70, 1, 0.5, 2}, {5, 6, 0, 2, 1, 0}, {5, 6, 0, 2, 1, 0.5},
                       {0, 6, 3, 0, 1, 0},  {6, 0, 3, 0, 1, 0},      {4, 4, 4, 0, 0, 1}};

template <class F> void check_gemm(const Case& c, bool ta, bool tb) {
  Matrix<F> a(ta ? c.k : c.m, ta ? c.m : c.k, c.gap, 1), b(tb ? c.n : c.k, tb ? c.k : c.n, c.gap, 2);
  Matrix<F> y(c.m, c.n, c.gap, 3), before = y;
  if (c.beta == 0) std::fill(y.values.begin(), y.values.end(), std::numeric_limits<F>::quiet_NaN());
  cpu::gemm<F>({a.values.data(), a.stride, ta}, {b.values.data(), b.stride, tb}, y.values.data(), y.stride, c.m, c.n,
               c.k, static_cast<F>(c.alpha), static_cast<F>(c.beta));
  for (i64 i = 0; i < c.m; ++i) {
    for (i64 j = 0; j < c.n; ++j) {
      double sum = 0;
      for (i64 r = 0; r < c.k; ++r) sum += a.get(i, r, ta) * b.get(r, j, tb);
      const double expected = c.alpha * sum + (c.beta == 0 ? 0 : c.beta * before.at(i, j));
      CHECK(std::abs(y.at(i, j) - expected) <= tolerance<F>(c.k));  // false for NaN
    }
    for (i64 j = c.n; j < y.stride; ++j) CHECK(std::isnan(y.at(i, j)));  // nothing written behind a row
  }
}

template <class F> void check_gemv(const Case& c, bool ta, i64 x_step, i64 y_step) {
  Matrix<F> a(ta ? c.k : c.m, ta ? c.m : c.k, c.gap, 1), x(c.k, 1, x_step - 1, 2), y(c.m, 1, y_step - 1, 3), before = y;
  if (c.beta == 0) std::fill(y.values.begin(), y.values.end(), std::numeric_limits<F>::quiet_NaN());
  cpu::gemv<F>({a.values.data(), a.stride, ta}, x.values.data(), x_step, y.values.data(), y_step, c.m, c.k,
               static_cast<F>(c.alpha), static_cast<F>(c.beta));
  for (i64 i = 0; i < c.m; ++i) {
    double sum = 0;
    for (i64 r = 0; r < c.k; ++r) sum += a.get(i, r, ta) * x.at(r, 0);
    const double expected = c.alpha * sum + (c.beta == 0 ? 0 : c.beta * before.at(i, 0));
    CHECK(std::abs(y.at(i, 0) - expected) <= tolerance<F>(c.k));
    for (i64 j = 1; j < y.stride; ++j) CHECK(std::isnan(y.at(i, j)));
  }
}

}  // namespace

TEST_CASE("blas: the library is the OpenMP build, which shares its threads with our loops") {
  CHECK(cpu::blas_parallel_kind() == 2);
}

TEST_CASE("gemm: against naive loops, with every transposition, gaps between rows, alpha and beta") {
  for (const Case& c : kCases)
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        CAPTURE(c.m);
        CAPTURE(c.n);
        CAPTURE(c.k);
        CAPTURE(ta);
        CAPTURE(tb);
        check_gemm<double>(c, ta, tb);
        check_gemm<float>(c, ta, tb);
      }
}

TEST_CASE("gemv: against naive loops, with steps between elements") {
  for (const Case& c : kCases)
    for (bool ta : {false, true})
      for (i64 step : {1, 3}) {
        CAPTURE(c.m);
        CAPTURE(c.k);
        CAPTURE(ta);
        CAPTURE(step);
        check_gemv<double>(c, ta, step, 1);
        check_gemv<float>(c, ta, 1, step);
      }
}

TEST_CASE("blas: sizes and strides beyond its integers are errors") {
  double v = 0;
  const i64 large = i64{1} << 31;
  const char* text = "matmul: BLAS takes sizes and strides up to 2^31 - 1; got 2147483648";
  CHECK_THROWS_WITH_AS(cpu::gemm<double>({&v, 1}, {&v, 1}, &v, 1, large, 1, 1), text, ShapeError);
  CHECK_THROWS_WITH_AS(cpu::gemm<double>({&v, large}, {&v, 1}, &v, 1, 1, 1, 1), text, ShapeError);
  CHECK_THROWS_WITH_AS(cpu::gemv<double>({&v, 1}, &v, large, &v, 1, 1, 1), text, ShapeError);
}

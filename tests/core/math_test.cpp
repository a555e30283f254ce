#include "core/math.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace moegrad;

namespace {

using Truth = long double;  // the C library's functions in 64 bits of mantissa
constexpr Truth kSqrtHalf = 0.707106781186547524400844362104849039L, kTwoPi = 6.28318530717958647692528676655900577L;

template <class F> constexpr F kInf = std::numeric_limits<F>::infinity();
template <class F> constexpr F kMax = std::numeric_limits<F>::max();
template <class F> constexpr F kNan = std::numeric_limits<F>::quiet_NaN();
template <class F> constexpr F kLeast = std::numeric_limits<F>::denorm_min();

// Arguments in [low, high]: uniform, every magnitude down to subnormal, the neighbourhoods of 0 and 1, and the ends.
template <class F> std::vector<F> arguments(F low, F high) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<Truth> unit(0, 1);
  std::vector<F> all{low, high, std::nextafter(low, high), std::nextafter(high, low)};
  const Truth least = std::log2(static_cast<Truth>(kLeast<F>));
  for (int i = 0; i < 60000; ++i) {
    all.push_back(static_cast<F>(low + (static_cast<Truth>(high) - low) * unit(random)));
    const F any = static_cast<F>(std::exp2(least - 1 + (static_cast<Truth>(-2) * least) * unit(random)));
    const F moderate = static_cast<F>(std::exp2(-30 + 40 * unit(random)));
    const F near_one = static_cast<F>(1 + std::exp2(-60 * unit(random)) * (i % 2 ? 0.5L : -0.25L));
    for (F x : {any, moderate, near_one}) {
      all.push_back(x);
      all.push_back(-x);
    }
  }
  std::erase_if(all, [&](F x) { return !(x >= low && x <= high); });
  return all;
}

// The distance in units of the last place. Beyond the largest finite number, infinity counts as exact.
template <class F> double ulps(F y, Truth truth) {
  if (std::isinf(y) || std::isinf(static_cast<F>(truth))) {
    const bool agree = y == static_cast<F>(truth) || (std::isinf(y) && std::abs(truth) >= kMax<F> && y * truth > 0);
    return agree ? 0 : 1e9;
  }
  const Truth magnitude = std::max(std::abs(truth), static_cast<Truth>(std::numeric_limits<F>::min()));
  const int exponent = std::ilogb(magnitude) - (std::numeric_limits<F>::digits - 1);
  return static_cast<double>(std::abs(y - truth) / std::ldexp(1.0L, exponent));
}

template <class F> struct Row {
  const char* name;
  F (*ours)(F);
  Truth (*truth)(Truth);
  double bound;  // of the card, in ulp
  F low, high;
};

Truth sigmoid_truth(Truth x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
Truth softplus_truth(Truth x) { return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))); }
Truth cdf_truth(Truth x) { return 0.5L * std::erfc(-x * kSqrtHalf); }
// Both with an argument of at most a quarter turn, where the C library loses nothing.
Truth cos_turn_truth(Truth v) { return std::sin(kTwoPi * (0.25L - std::abs(v))); }
Truth sin_turn_truth(Truth v) {
  return std::copysign(std::sin(kTwoPi * (std::abs(v) > 0.25L ? 0.5L - std::abs(v) : std::abs(v))), v);
}

template <class F> std::vector<Row<F>> rows() {
  const F under = sizeof(F) == 4 ? -110 : -760, over = sizeof(F) == 4 ? 95 : 720;
  return {{"exp", math::exp<F>, std::exp, 1.1, under, over},
          {"expm1", math::expm1<F>, std::expm1, 1.5, under, over},
          {"log", math::log<F>, std::log, 1, 0, kMax<F>},
          {"log1p", math::log1p<F>, std::log1p, 1.5, -1, kMax<F>},
          {"tanh", math::tanh<F>, std::tanh, 2.5, -kMax<F>, kMax<F>},
          {"tanh near 0", math::tanh<F>, std::tanh, 2.5, -25, 25},
          {"sigmoid", math::sigmoid<F>, sigmoid_truth, 2.5, under, -under},
          {"softplus", math::softplus<F>, softplus_truth, 2, under, -under},
          {"erf", math::erf<F>, std::erf, 2.5, -7, 7},
          {"erf, all magnitudes", math::erf<F>, std::erf, 2.5, -kMax<F>, kMax<F>},
          {"erfc", math::erfc<F>, std::erfc, 7, -7, 29},
          {"normal_cdf", math::normal_cdf<F>, cdf_truth, 7, -42, 10},
          {"normal_cdf near 0", math::normal_cdf<F>, cdf_truth, 7, -6, 6},
          {"sin_cos_turn.sin", [](F v) { return math::sin_cos_turn(v).sin; }, sin_turn_truth, 2.5, F(-0.5), F(0.5)},
          {"sin_cos_turn.cos", [](F v) { return math::sin_cos_turn(v).cos; }, cos_turn_truth, 2.5, F(-0.5), F(0.5)},
          {"sqrt", math::sqrt, std::sqrt, 0.5001, 0, kMax<F>},
          {"rsqrt", math::rsqrt<F>, [](Truth x) { return 1 / std::sqrt(x); }, 1.5, kLeast<F>, kMax<F>},
          {"sin", math::sin, std::sin, 1, -100, 100},
          {"cos", math::cos, std::cos, 1, -100, 100}};
}

bool is_negative_zero(double x) { return x == 0 && std::signbit(x); }

}  // namespace

TEST_CASE_TEMPLATE("math: every function keeps the bound on its card", F, float, double) {
  for (const Row<F>& row : rows<F>()) {
    double worst = 0;
    F at = 0;
    for (F x : arguments(row.low, row.high)) {
      const double error = ulps(row.ours(x), row.truth(static_cast<Truth>(x)));
      if (!(error <= worst)) {
        worst = error;
        at = x;
      }
    }
    CAPTURE(row.name);
    CAPTURE(at);
    CHECK(worst <= row.bound);
  }
}

TEST_CASE_TEMPLATE("math: NaN gives NaN, and a loop gives the bits of single calls", F, float, double) {
  for (const Row<F>& row : rows<F>()) {
    CAPTURE(row.name);
    CHECK(std::isnan(row.ours(kNan<F>)));
  }
  const auto loop = [](const F* x, F* y, i64 n) {  // long enough for whole vectors, and then a remainder
    for (i64 i = 0; i < n; ++i)
      y[i] = math::normal_cdf(x[i]) + math::tanh(x[i]) + math::softplus(x[i]) + math::erf(x[i]) + math::log(x[i]) +
             math::sin_cos_turn(x[i] * F(0.01)).sin;
  };
  std::vector<F> x(1003), together(1003), single(1003);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<F>(0.013) * static_cast<F>(i + 1);
  loop(x.data(), together.data(), 1003);
  for (std::size_t i = 0; i < x.size(); ++i) loop(&x[i], &single[i], 1);
  CHECK(together == single);
}

TEST_CASE_TEMPLATE("math: exp and expm1 at zeros, infinities and the borders of the format", F, float, double) {
  CHECK(math::exp(F(0)) == 1);
  CHECK(math::exp(F(-0.0)) == 1);
  CHECK(math::exp(kInf<F>) == kInf<F>);
  CHECK(math::exp(-kInf<F>) == 0);
  CHECK(math::exp(kMax<F>) == kInf<F>);
  const Truth log_max = std::log(static_cast<Truth>(kMax<F>));
  F border = static_cast<F>(log_max);
  if (border > log_max) border = std::nextafter(border, F(0));
  CHECK(math::exp(border) < kInf<F>);
  CHECK(math::exp(std::nextafter(border, kInf<F>)) == kInf<F>);
  CHECK(math::expm1(border) < kInf<F>);
  CHECK(math::exp(static_cast<F>(std::log(static_cast<Truth>(kLeast<F>)))) == kLeast<F>);
  CHECK(math::expm1(kInf<F>) == kInf<F>);
  CHECK(math::expm1(-kInf<F>) == -1);
  CHECK(math::expm1(kLeast<F>) == kLeast<F>);
  CHECK(math::expm1(-kLeast<F>) == -kLeast<F>);
  CHECK(is_negative_zero(math::expm1(F(-0.0))));
  CHECK_FALSE(std::signbit(math::expm1(F(0))));
}

TEST_CASE_TEMPLATE("math: logarithms at zeros, infinities, subnormals and outside their domain", F, float, double) {
  CHECK(math::log(F(1)) == 0);
  CHECK(math::log(F(0)) == -kInf<F>);
  CHECK(math::log(F(-0.0)) == -kInf<F>);
  CHECK(math::log(kInf<F>) == kInf<F>);
  for (F x : {-kLeast<F>, F(-1), -kMax<F>, -kInf<F>}) CHECK(std::isnan(math::log(x)));
  CHECK(math::log1p(F(-1)) == -kInf<F>);
  CHECK(math::log1p(kInf<F>) == kInf<F>);
  CHECK(math::log1p(kLeast<F>) == kLeast<F>);
  CHECK(math::log1p(-kLeast<F>) == -kLeast<F>);
  CHECK(is_negative_zero(math::log1p(F(-0.0))));
  for (F x : {std::nextafter(F(-1), F(-2)), -kMax<F>, -kInf<F>}) CHECK(std::isnan(math::log1p(x)));
}

TEST_CASE_TEMPLATE("math: sigmoids and error functions saturate exactly and keep the sign of zero", F, float, double) {
  for (const auto f : {math::tanh<F>, math::erf<F>}) {
    CHECK(f(kInf<F>) == 1);
    CHECK(f(-kMax<F>) == -1);
    CHECK(is_negative_zero(f(F(-0.0))));
    CHECK_FALSE(std::signbit(f(F(0))));
  }
  CHECK(math::tanh(kLeast<F>) == kLeast<F>);
  CHECK(math::sigmoid(F(0)) == F(0.5));
  CHECK(math::sigmoid(kInf<F>) == 1);
  CHECK(math::sigmoid(-kInf<F>) == 0);
  CHECK(math::softplus(kInf<F>) == kInf<F>);
  CHECK(math::softplus(-kInf<F>) == 0);
  CHECK(math::softplus(kMax<F>) == kMax<F>);
  CHECK(math::erfc(kInf<F>) == 0);
  CHECK(math::erfc(-kInf<F>) == 2);
  CHECK(math::normal_cdf(kInf<F>) == 1);
  CHECK(math::normal_cdf(-kInf<F>) == 0);
}

TEST_CASE_TEMPLATE("math: maximum and minimum propagate NaN from either side", F, float, double) {
  CHECK(math::maximum(F(1), F(2)) == 2);
  CHECK(math::maximum(F(2), -kInf<F>) == 2);
  CHECK(math::minimum(F(1), F(2)) == 1);
  CHECK(math::minimum(F(2), -kInf<F>) == -kInf<F>);
  for (F x : {F(0), kInf<F>, -kInf<F>, kNan<F>})
    for (const auto f : {math::maximum<F>, math::minimum<F>}) {
      CHECK(std::isnan(f(x, kNan<F>)));
      CHECK(std::isnan(f(kNan<F>, x)));
    }
}

TEST_CASE_TEMPLATE("math: sin_cos_turn is exact at quarter turns", F, float, double) {
  for (int q = -2; q <= 2; ++q) {
    const auto [sine, cosine] = math::sin_cos_turn(static_cast<F>(q) / 4);
    CHECK(sine == (q == 1 ? 1 : q == -1 ? -1 : 0));
    CHECK(cosine == (q == 0 ? 1 : std::abs(q) == 2 ? -1 : 0));
  }
}

TEST_CASE_TEMPLATE("math: pow is the C library's", F, float, double) {
  CHECK(math::pow(F(2), F(10)) == 1024);
  CHECK(math::pow(F(0), F(0)) == 1);
  CHECK(std::isnan(math::pow(F(-2), F(0.5))));
}

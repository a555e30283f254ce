#include "core/random_fill.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"

using namespace moegrad;

namespace {

constexpr u64 kSeed = 0x123456789abcdef0;
constexpr u32 kDraw = 17;
const i64 kStep = 9;
const random::Key kKey{kSeed, kDraw, &kStep};

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

template <class F> std::vector<F> filled(i64 n, void (*kernel)(F*, i64, random::Key, F, F), F a, F b) {
  std::vector<F> y(at(n));
  kernel(y.data(), n, kKey, a, b);
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("fill_uniform, fill_normal: element i is the number i of the draw, and nothing beyond n changes", F,
                   float, double) {
  for (i64 n : {0, 1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 1000, 20000}) {
    std::vector<F> u(at(n + 1), F(-7)), z(at(n + 1), F(-7));
    cpu::fill_uniform(u.data(), n, kKey, F(0), F(1));
    cpu::fill_normal(z.data(), n, kKey, F(0), F(1));
    i64 wrong = 0;
    for (i64 i = 0; i < n; ++i)
      wrong += u[at(i)] != random::uniform<F>(kSeed, kDraw, 9, i) || z[at(i)] != random::normal<F>(kSeed, kDraw, 9, i);
    CAPTURE(n);
    CHECK(wrong == 0);
    CHECK(u[at(n)] == -7);
    CHECK(z[at(n)] == -7);
  }
}

TEST_CASE_TEMPLATE("fill_integers: element i is the number i of the draw, and nothing beyond n changes", I, i32, i64) {
  for (i64 n : {0, 1, 2, 3, 127, 128, 129, 4095, 4096, 4097, 20001}) {
    std::vector<I> y(at(n + 1), I(-7));
    cpu::fill_integers(y.data(), n, kKey, -5, 1000003);
    i64 wrong = 0;
    for (i64 i = 0; i < n; ++i) wrong += y[at(i)] != random::below(1000003, kSeed, kDraw, 9, i) - 5;
    CAPTURE(n);
    CHECK(wrong == 0);
    CHECK(y[at(n)] == -7);
  }
}

TEST_CASE_TEMPLATE("fill_uniform, fill_normal: the same bits for any number of threads", F, float, double) {
  const int before = num_threads();
  set_num_threads(1);
  const std::vector<F> u = filled<F>(100001, cpu::fill_uniform, 0, 1), z = filled<F>(100001, cpu::fill_normal, 0, 1);
  for (int threads : {2, 3}) {
    set_num_threads(threads);
    CHECK(filled<F>(100001, cpu::fill_uniform, 0, 1) == u);
    CHECK(filled<F>(100001, cpu::fill_normal, 0, 1) == z);
  }
  set_num_threads(before);
}

TEST_CASE_TEMPLATE("fill_uniform: stays in [low, high), also where rounding would reach high", F, float, double) {
  const F next = std::nextafter(F(1), F(2));
  for (F y : filled<F>(1000, cpu::fill_uniform, 1, next)) REQUIRE(y == 1);
  for (F y : filled<F>(1000, cpu::fill_uniform, 3, 3)) REQUIRE(y == 3);
  F least = 9, most = -9;
  for (F y : filled<F>(100000, cpu::fill_uniform, -2, 5)) {
    least = std::min(least, y);
    most = std::max(most, y);
  }
  CHECK((least >= -2 && least < F(-1.99)));
  CHECK((most < 5 && most > F(4.99)));
}

TEST_CASE_TEMPLATE("fill_normal: mean and deviation", F, float, double) {
  const std::vector<F> z = filled<F>(1000, cpu::fill_normal, 0, 1), y = filled<F>(1000, cpu::fill_normal, 3, F(0.5));
  for (std::size_t i = 0; i < z.size(); ++i) REQUIRE(y[i] == 3 + F(0.5) * z[i]);
  for (F x : filled<F>(10, cpu::fill_normal, 3, 0)) CHECK(x == 3);
}

TEST_CASE("fill_uniform: the step is read at the call, and each part of the key matters") {
  i64 step = 1;
  float first = 0, later = 0, other_draw = 0, other_seed = 0;
  cpu::fill_uniform(&first, 1, {5, 6, &step}, 0.0f, 1.0f);
  cpu::fill_uniform(&other_draw, 1, {5, 7, &step}, 0.0f, 1.0f);
  cpu::fill_uniform(&other_seed, 1, {6, 6, &step}, 0.0f, 1.0f);
  step = 2;
  cpu::fill_uniform(&later, 1, {5, 6, &step}, 0.0f, 1.0f);
  CHECK(first == random::uniform<float>(5, 6, 1, 0));
  CHECK(later == random::uniform<float>(5, 6, 2, 0));
  CHECK(other_draw == random::uniform<float>(5, 7, 1, 0));
  CHECK(other_seed == random::uniform<float>(6, 6, 1, 0));
}

#include "core/bf16.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/dtype.h"

using namespace moegrad;

namespace {

// There is no arithmetic in bf16: it would have to be that of floats.
template <class T>
concept Computes = requires(T a, T b) {
  a + b;
}
|| requires(T a, T b) { a - b; }
|| requires(T a, T b) { a* b; }
|| requires(T a, T b) { a / b; }
|| requires(T a, T b) { a < b; };
static_assert(!Computes<bf16> && Computes<float>);

float value_of(u32 bits) { return bf16::widen(static_cast<std::uint16_t>(bits)); }

// The nearest bf16 to a finite v >= 0 found by bisection over all of them, ties to the even one.
u32 nearest_by_search(double v) {
  u32 low = 0, high = 0x7f80;  // value_of(low) <= v < value_of(high), infinity standing for 2^128
  const auto at = [](u32 b) { return b == 0x7f80 ? 0x1p128 : static_cast<double>(value_of(b)); };
  while (high - low > 1) {
    const u32 middle = (low + high) / 2;
    (at(middle) <= v ? low : high) = middle;
  }
  const double below = v - at(low), above = at(high) - v;
  if (below != above) return below < above ? low : high;
  return low % 2 == 0 ? low : high;
}

}  // namespace

TEST_CASE("bf16: every one survives the way through float and double") {
  for (u32 b = 0; b < 0x10000; ++b) {
    const float v = value_of(b);
    if (std::isnan(v)) {
      CHECK_MESSAGE(bf16(v).bits == (b | 0x40), b);  // made quiet, the rest kept
      continue;
    }
    REQUIRE_MESSAGE(bf16(v).bits == b, b);
    REQUIRE_MESSAGE(bf16(static_cast<double>(v)).bits == b, b);
    REQUIRE_MESSAGE(static_cast<float>(bf16(v)) == v, b);
  }
}

TEST_CASE("bf16: rounds to nearest, ties to even, between every two neighbours") {
  for (u32 b = 0; b < 0x7f80; ++b) {
    const u32 low = b << 16;
    for (const u32 rest : {1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float v = std::bit_cast<float>(low | rest);
      const u32 expected = nearest_by_search(static_cast<double>(v));
      REQUIRE_MESSAGE(bf16(v).bits == expected, v);
      REQUIRE_MESSAGE(bf16(-v).bits == (expected | 0x8000), v);
    }
  }
}

TEST_CASE("bf16: a double is rounded once, not by way of the nearest float") {
  for (const u32 b : {0u, 1u, 0x7fu, 0x80u, 0x3f80u, 0x3f81u, 0x4000u, 0x7f7eu, 0x7f7fu}) {
    const double tie =
        (static_cast<double>(value_of(b)) + (b == 0x7f7f ? 0x1p128 : static_cast<double>(value_of(b + 1)))) / 2;
    for (const double v : {tie, std::nextafter(tie, 0.0), std::nextafter(tie, 1e300)}) {
      CHECK_MESSAGE(bf16(v).bits == nearest_by_search(v), b);
      CHECK_MESSAGE(bf16(-v).bits == (nearest_by_search(v) | 0x8000), b);
    }
  }
  CHECK(bf16(1e300).bits == 0x7f80);
  CHECK(bf16(-1e-300).bits == 0x8000);
  CHECK(bf16(std::numeric_limits<double>::infinity()).bits == 0x7f80);
}

TEST_CASE("bf16: NaN, infinities, signed zeros and subnormals are kept") {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(bf16(inf).bits == 0x7f80);
  CHECK(bf16(-inf).bits == 0xff80);
  CHECK(bf16(-0.0f).bits == 0x8000);
  CHECK(bf16(std::bit_cast<float>(0x7f800001u)).bits == 0x7fc0);  // its only bit is cut off, yet it stays NaN
  CHECK(bf16(std::bit_cast<float>(0xff800001u)).bits == 0xffc0);
  CHECK(std::isnan(static_cast<float>(bf16(std::nan("")))));
  CHECK(bf16(0x1p-133f).bits == 1);
  CHECK(bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
}

TEST_CASE("bf16: conversion to and from every type") {
  CHECK((convert<bf16>(true).bits == 0x3f80 && convert<bf16>(i64{-3}).bits == 0xc040));
  CHECK((convert<i32>(bf16(-2.5f)) == -2 && convert<i64>(bf16(1e30f)) == INT64_MAX && convert<i32>(bf16(NAN)) == 0));
  CHECK((convert<bool>(bf16(0.1f)) && !convert<bool>(bf16(-0.0f)) && convert<bool>(bf16(NAN))));
  CHECK((convert<double>(bf16(0.1f)) == 0.10009765625 && convert<float>(bf16(257.0f)) == 256.0f));
}

// bf16: the upper half of a float, with its range and 8 significant bits. It is a type to store: arithmetic is done in
// float, and a result is rounded when it is stored.
#pragma once
#include <cstring>
#include <type_traits>

#include "core/fwd.h"

namespace moegrad {

struct bf16 {
  std::uint16_t bits;

  bf16() = default;
  /// The nearest bf16, of two equally near ones the even one: infinite from 2^128 - 2^119 on. NaN stays NaN (made
  /// quiet), with its sign; subnormals and signed zeros are kept.
  MOEGRAD_HD explicit bf16(float v) {
    u32 b;
    std::memcpy(&b, &v, sizeof b);
    const u32 rounded = b + 0x7fff + ((b >> 16) & 1);  // a carry moves on to the exponent, up to infinity
    const u32 quiet = b | 0x400000;
    bits = static_cast<std::uint16_t>(((b & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
  }
  /// The nearest bf16 of a double: by way of a float rounded to odd, so that there is one rounding in effect.
  MOEGRAD_HD explicit bf16(double v) : bf16(round_to_odd(v)) {}
  MOEGRAD_HD explicit bf16(int v) : bf16(static_cast<double>(v)) {}
  MOEGRAD_HD explicit operator float() const { return widen(bits); }

  MOEGRAD_HD static bf16 from_bits(std::uint16_t b) {
    bf16 y;
    y.bits = b;
    return y;
  }
  MOEGRAD_HD static float widen(std::uint16_t b) {
    const u32 wide = static_cast<u32>(b) << 16;
    float v;
    std::memcpy(&v, &wide, sizeof v);
    return v;
  }

 private:
  // v if it is a float, else the one of its two neighbours that has an odd last bit.
  MOEGRAD_HD static float round_to_odd(double v) {
    const float nearest = static_cast<float>(v);
    const double back = static_cast<double>(nearest);
    if (back == v || v != v) return nearest;
    u32 b;
    std::memcpy(&b, &nearest, sizeof b);
    const bool beyond = (back > v) == (v > 0);  // the nearest float lies further from 0 than v
    b = (beyond ? b - 1 : b) | 1;
    float odd;
    std::memcpy(&odd, &b, sizeof odd);
    return odd;
  }
};
static_assert(sizeof(bf16) == 2 && std::is_trivially_copyable_v<bf16>);

// No operators, and no conversion that is not asked for: a formula that is given a bf16 is a mistake. The loops of
// ops/loops.h give it floats, and a kernel that computes in the type it stores is called by way of `with_wide`
// (core/dtype.h), its op having widened bf16 (ops/cast.h).

/// The type in which values stored as T are computed.
template <class T> using Computed = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

}  // namespace moegrad

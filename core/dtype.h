// Element types. bool is stored as one byte, 0 or 1.
#pragma once
#include <limits>
#include <type_traits>

#include "core/bf16.h"
#include "core/errors.h"
#include "core/fwd.h"

namespace moegrad {

enum class DType : std::uint8_t { f32, f64, bf16, i32, i64, boolean };

constexpr i64 byte_size(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::bf16: return 2;
    case DType::boolean: return 1;
  }
  return 0;
}
constexpr const char* name(DType t) {
  switch (t) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::boolean: return "bool";
  }
  return "?";
}
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::bf16; }
constexpr bool is_int(DType t) { return t == DType::i32 || t == DType::i64; }

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<bf16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<i32> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<i64> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Stored as a floating point number.
template <class T> inline constexpr bool kIsFloat = std::is_floating_point_v<T> || std::is_same_v<T, bf16>;

/// v as a To. bool asks whether v is not zero; float to integer cuts towards zero, takes the nearest value there is
/// where v is out of range, and makes NaN 0 (the plain C++ conversion is undefined there). To bf16 values are rounded
/// once, i64 by way of f64.
template <class To, class From> MOEGRAD_HD constexpr To convert(From v) {
  if constexpr (std::is_same_v<To, From>) {
    return v;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return convert<To>(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, bf16>) {
    if constexpr (std::is_same_v<From, float>)
      return bf16(v);
    else
      return bf16(static_cast<double>(v));
  } else if constexpr (std::is_same_v<To, bool>) {
    return v != From{};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr To lowest = std::numeric_limits<To>::lowest(), highest = std::numeric_limits<To>::max();
    constexpr From end = -static_cast<From>(lowest);  // highest + 1, a power of two, so it is exact
    return v >= end ? highest : v >= -end ? static_cast<To>(v) : v < -end ? lowest : To{};
  } else {
    return static_cast<To>(v);
  }
}

/// What an op that takes every float says that it takes.
inline constexpr const char* kFloats = "f32, f64 or bf16";

/// Throws DTypeError: `<op>: x must be <wanted>; got <dtype>`.
[[noreturn]] void throw_dtype(const char* op, const char* wanted, DType got);

/// Calls f.template operator()<T>() with T = float, double or bf16. Throws DTypeError for any other dtype.
template <class Fn> decltype(auto) with_float(const char* op, DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::bf16: return f.template operator()<bf16>();
    default: throw_dtype(op, kFloats, t);
  }
}

/// The same for f32 and f64: for kernels that compute in the type that they store. Their ops widen bf16 before.
template <class Fn> decltype(auto) with_wide(const char* op, DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    default: throw_dtype(op, "f32 or f64", t);
  }
}

/// The same for i32 and i64.
template <class Fn> decltype(auto) with_int(const char* op, DType t, Fn&& f) {
  switch (t) {
    case DType::i32: return f.template operator()<i32>();
    case DType::i64: return f.template operator()<i64>();
    default: throw_dtype(op, "i32 or i64", t);
  }
}

/// The same for every number type.
template <class Fn> decltype(auto) with_number(const char* op, DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::bf16: return f.template operator()<bf16>();
    case DType::i32: return f.template operator()<i32>();
    case DType::i64: return f.template operator()<i64>();
    default: throw_dtype(op, "f32, f64, bf16, i32 or i64", t);
  }
}

/// The same for every dtype.
template <class Fn> decltype(auto) with_any(DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::bf16: return f.template operator()<bf16>();
    case DType::i32: return f.template operator()<i32>();
    case DType::i64: return f.template operator()<i64>();
    case DType::boolean: break;
  }
  return f.template operator()<bool>();
}

}  // namespace moegrad

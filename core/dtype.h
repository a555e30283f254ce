// Element types. bool is stored as one byte, 0 or 1.
#pragma once
#include "core/errors.h"
#include "core/fwd.h"

namespace moegrad {

enum class DType : std::uint8_t { f32, f64, i32, i64, boolean };

constexpr i64 byte_size(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::boolean: return 1;
  }
  return 0;
}
constexpr const char* name(DType t) {
  switch (t) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::boolean: return "bool";
  }
  return "?";
}
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64; }
constexpr bool is_int(DType t) { return t == DType::i32 || t == DType::i64; }

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<i32> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<i64> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Throws DTypeError: `<op>: x must be <wanted>; got <dtype>`.
[[noreturn]] void throw_dtype(const char* op, const char* wanted, DType got);

/// Calls f.template operator()<T>() with T = float or double. Throws DTypeError for any other dtype.
template <class Fn> decltype(auto) with_float(const char* op, DType t, Fn&& f) {
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

/// The same for every number type: f32, f64, i32, i64.
template <class Fn> decltype(auto) with_number(const char* op, DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i32: return f.template operator()<i32>();
    case DType::i64: return f.template operator()<i64>();
    default: throw_dtype(op, "f32, f64, i32 or i64", t);
  }
}

/// The same for every dtype.
template <class Fn> decltype(auto) with_any(DType t, Fn&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i32: return f.template operator()<i32>();
    case DType::i64: return f.template operator()<i64>();
    case DType::boolean: break;
  }
  return f.template operator()<bool>();
}

}  // namespace moegrad

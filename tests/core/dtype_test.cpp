#include "core/dtype.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

using namespace moegrad;

TEST_CASE("dtype: names, sizes and kinds") {
  CHECK((std::string(name(DType::f32)) == "f32" && byte_size(DType::f32) == 4 && dtype_of<float> == DType::f32));
  CHECK((std::string(name(DType::f64)) == "f64" && byte_size(DType::f64) == 8 && dtype_of<double> == DType::f64));
  CHECK((std::string(name(DType::bf16)) == "bf16" && byte_size(DType::bf16) == 2 && dtype_of<bf16> == DType::bf16));
  CHECK((std::string(name(DType::i32)) == "i32" && byte_size(DType::i32) == 4 && dtype_of<i32> == DType::i32));
  CHECK((std::string(name(DType::i64)) == "i64" && byte_size(DType::i64) == 8 && dtype_of<i64> == DType::i64));
  CHECK((std::string(name(DType::boolean)) == "bool" && byte_size(DType::boolean) == 1));
  CHECK((is_float(DType::f64) && is_float(DType::bf16) && !is_float(DType::i64) && is_int(DType::i32) &&
         !is_int(DType::boolean)));
}

TEST_CASE("dtype: with_.. calls with the C++ type, or says what the op takes") {
  const auto size = []<class T>() { return static_cast<i64>(sizeof(T)); };
  for (DType t : {DType::f32, DType::f64, DType::bf16}) CHECK(with_float("op", t, size) == byte_size(t));
  for (DType t : {DType::i32, DType::i64}) CHECK(with_int("op", t, size) == byte_size(t));
  for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64})
    CHECK(with_number("op", t, size) == byte_size(t));
  for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean})
    CHECK(with_any(t, size) == byte_size(t));
  CHECK_THROWS_WITH_AS(with_float("exp", DType::i64, size), "exp: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK(with_wide("op", DType::f64, size) == 8);
  CHECK_THROWS_WITH_AS(with_wide("op", DType::bf16, size), "op: x must be f32 or f64; got bf16", DTypeError);
  CHECK_THROWS_WITH_AS(with_int("gather", DType::f32, size), "gather: x must be i32 or i64; got f32", DTypeError);
  CHECK_THROWS_WITH_AS(with_number("add", DType::boolean, size), "add: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
}

TEST_CASE("dtype: conversion is defined for every value") {
  const double infinite = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK((convert<i32>(2.9) == 2 && convert<i32>(-2.9) == -2 && convert<i64>(-0.5) == 0));
  CHECK((convert<i32>(2147483647.0) == INT32_MAX && convert<i32>(-2147483648.0) == INT32_MIN));
  CHECK((convert<i32>(2147483648.0) == INT32_MAX && convert<i32>(-2147483649.0) == INT32_MIN));
  CHECK(
      (convert<i64>(0x1p63) == INT64_MAX && convert<i64>(-0x1p63) == INT64_MIN && convert<i64>(-0x1p64) == INT64_MIN));
  CHECK((convert<i64>(0x1p62f) == i64{1} << 62 && convert<i32>(3e9f) == INT32_MAX));
  CHECK((convert<i64>(infinite) == INT64_MAX && convert<i64>(-infinite) == INT64_MIN && convert<i32>(nan) == 0));
  CHECK((convert<bool>(0.1) && convert<bool>(nan) && !convert<bool>(-0.0) && convert<bool>(256)));
  CHECK((convert<float>(true) == 1.0f && convert<double>(i64{7}) == 7.0 && std::isnan(convert<float>(nan))));
}

// A table of ops and the dtypes that they take. Each row is called with every dtype: either the dtype of the result is
// as the row says and the values are those of f64, or a DTypeError names the op and the dtype.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "ops/ops.h"
#include "tests/support/check_op.h"

namespace moegrad::test {

inline constexpr DType kDTypes[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean};

enum class Takes { floats, numbers, everything, i64_only, bools };
enum class Gives { same, counted, truth, i64s, f64 };  // counted: i64 of integers and bools
using enum Takes;
using enum Gives;

inline bool takes(Takes t, DType d) {
  switch (t) {
    case floats: return is_float(d);
    case numbers: return d != DType::boolean;
    case everything: return true;
    case i64_only: return d == DType::i64;
    case bools: return d == DType::boolean;
  }
  return false;
}
inline DType result(Gives g, DType d) {
  switch (g) {
    case same: return d;
    case counted: return is_float(d) ? d : DType::i64;
    case truth: return DType::boolean;
    case i64s: return DType::i64;
    case Gives::f64: break;
  }
  return DType::f64;
}

// Zeros and ones, which every dtype has.
inline Tensor bits(const Shape& shape, DType dtype, i64 first = 1) {
  std::vector<double> v(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = (static_cast<i64>(i) * 5 + first) % 3 == 0 ? 0 : 1;
  return from_vector(v, shape, dtype);
}
inline Tensor x23(DType d) { return bits({2, 3}, d); }
inline Tensor y23(DType d) { return bits({2, 3}, d, 2); }
inline Tensor index23() { return tensor({{0, 1, 0}, {1, 0, 1}}, DType::i64); }
inline Tensor mask23() { return bits({2, 3}, DType::boolean); }
inline Draw a_draw() {
  static Random random(3);
  return random.next();
}

using One = std::function<Tensor(DType)>;
struct Row {
  const char* op;
  Takes takes;
  Gives gives;
  One call;
};

inline void check_row(const Row& r) {
  for (const DType d : kDTypes) {
    CAPTURE(std::string(r.op));
    CAPTURE(std::string(name(d)));
    if (takes(r.takes, d)) {
      const Tensor y = r.call(d);
      CHECK(std::string(name(y.dtype())) == name(result(r.gives, d)));
      if (!takes(r.takes, DType::f64)) continue;
      // Inputs are exact in every dtype, so that only what is computed is rounded.
      const double allowed = d == DType::bf16 ? 1.5 * 0x1p-8 : is_float(d) ? 1e-5 : 0;
      CHECK_LE(difference(y, r.call(DType::f64)), allowed);
      continue;
    }
    std::string text = "no error";
    try {
      r.call(d);
    } catch (const DTypeError& e) {
      text = e.what();
    }
    CAPTURE(text);
    CHECK(text.rfind(std::string(r.op), 0) == 0);
    CHECK(text.find(name(d)) != std::string::npos);
  }
}

}  // namespace moegrad::test

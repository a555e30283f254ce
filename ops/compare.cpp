#include "ops/compare.h"

#include <fmt/format.h>

#include "ops/loops.h"

namespace moegrad {
namespace {

// y = Op(a, b), or Op(b, a) if swapped: errors name the operands in the caller's order.
template <class Op> Tensor compare(const char* op, const Tensor& a_any, const Tensor& b_any, bool swapped = false) {
  check_same_device(op, a_any, b_any);
  check_same_dtype(op, a_any, b_any);
  Tensor y = empty(broadcast(op, a_any.shape(), b_any.shape()), DType::boolean, a_any.device());
  const Tensor &a = swapped ? b_any : a_any, &b = swapped ? a_any : b_any;
  const Nest<3> nest = nest_over<3>(y.shape(), {&a, &b, &y});
  with_any(a.dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(a.device(), map2, Op{}, a.data<T>(), b.data<T>(), y.data<bool>(), nest); });
  return y;
}

void check_bool(const char* op, const Tensor& x) {
  if (x.dtype() != DType::boolean) throw_dtype(op, "bool", x.dtype());
}

template <class Op> Tensor test(const char* op, const Tensor& x) {
  Tensor y = empty(x.shape(), DType::boolean, x.device());
  const Nest<2> nest = nest_over<2>(y.shape(), {&x, &y});
  with_float(op, x.dtype(),
             [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, Op{}, x.data<T>(), y.data<bool>(), nest); });
  return y;
}

}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) { return compare<formula::Eq>("eq", a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return compare<formula::Ne>("ne", a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return compare<formula::Lt>("lt", a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return compare<formula::Le>("le", a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return compare<formula::Lt>("gt", a, b, true); }
Tensor ge(const Tensor& a, const Tensor& b) { return compare<formula::Le>("ge", a, b, true); }

Tensor logical_and(const Tensor& a, const Tensor& b) {
  check_bool("logical_and", a), check_bool("logical_and", b);
  return compare<formula::And>("logical_and", a, b);
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  check_bool("logical_or", a), check_bool("logical_or", b);
  return compare<formula::Or>("logical_or", a, b);
}
Tensor logical_xor(const Tensor& a, const Tensor& b) {
  check_bool("logical_xor", a), check_bool("logical_xor", b);
  return compare<formula::Ne>("logical_xor", a, b);
}
Tensor logical_not(const Tensor& x) {
  check_bool("logical_not", x);
  Tensor y = empty(x.shape(), DType::boolean, x.device());
  MOEGRAD_LAUNCH(x.device(), map1, formula::Not{}, x.data<bool>(), y.data<bool>(), nest_over<2>(y.shape(), {&x, &y}));
  return y;
}

Tensor isnan(const Tensor& x) { return test<formula::IsNan>("isnan", x); }
Tensor isfinite(const Tensor& x) { return test<formula::IsFinite>("isfinite", x); }

}  // namespace moegrad

// What a structured tensor must be able to say of itself. ops/one_hot.h has the one structure there is.
#pragma once
#include <string>

#include "core/tensor.h"

namespace moegrad {

/// A description of values that stands in place of a storage.
struct Structure {
  int refs = 0;
  virtual ~Structure() = default;
  /// The same values stored element by element, with a gradient to whatever is differentiable in the description.
  virtual Tensor dense() const = 0;
  virtual bool requires_grad() const = 0;
  /// The same description with nothing differentiable in it.
  virtual Tensor detach() const = 0;
  /// For printing: "one_hot(...)".
  virtual std::string describe() const = 0;
  static void destroy(Structure* s) { delete s; }

  // The ops that can keep the structure. Each returns the structured result, or an empty Tensor where the op must work
  // on the dense form. Arguments were checked by the op.
  virtual Tensor permute(const Axes&) const { return {}; }
  virtual Tensor reshape(const Shape&) const { return {}; }
  virtual Tensor expand(const Shape&) const { return {}; }
  virtual Tensor slice(int, i64, i64, i64) const { return {}; }  ///< axis, begin, count, step
  virtual Tensor sum(const Axes&, bool) const { return {}; }     ///< axes, keep_dims
  virtual Tensor mul(const Tensor&) const { return {}; }         ///< by a dense tensor
  virtual Tensor cast(DType) const { return {}; }
  virtual Tensor to(Device) const { return {}; }
};

/// The structure of x, or nullptr.
inline const Structure* structure_of(const Tensor& x) { return x.body().structure.get(); }

}  // namespace moegrad

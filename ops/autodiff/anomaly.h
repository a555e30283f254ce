// Where a NaN comes from.
#pragma once
#include <map>
#include <set>
#include <string>

#include "core/autograd.h"
#include "core/observe.h"

namespace moegrad {

struct AnomalyOptions {
  bool infinities = true;  ///< false: only NaN counts. For models that mask with -inf
};

/// While it lives, the first value of this thread that is not finite is an AnomalyError which names the op, its
/// attributes and operands, the layer that called it, and the element. Checked are what ops return, recorded or not,
/// and what their gradients return; what happens inside a gradient shows in what it returns. For a layer's name in a
/// gradient the scope must span forward, too. Every value is read: a program runs several times slower in the scope,
/// and as fast as ever outside.
///   anomaly: values must be finite; got nan at element 2 of the output of log(f64 [4]), in layer 'blocks.3.attention'
///   anomaly: values must be finite; got inf at element 0 of the gradient of input 0 of sqrt(f64 [1])
/// A value that was not finite when the op got it is said to be the input's: "of input 1 (parameter 'head.weight') of
/// matmul(..)".
///   AnomalyMode scope;   AnomalyMode scope({.infinities = false});
class AnomalyMode final : public Observer {
 public:
  explicit AnomalyMode(AnomalyOptions options = {}) : options_(options) {}
  void ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) override;
  void rule_begins(const Node& node, std::span<const Tensor> dys) override;
  void rule_ended(const Node& node, std::span<const Tensor> dys, const SmallList<Tensor, 3>* dxs) override;

 private:
  std::string fault(const Tensor& x) const;
  AnomalyOptions options_;
  int rules_ = 0;                      // that run now, one within the other
  std::map<u64, std::string> layers_;  // of recorded nodes, by serial
};

/// What AnomalyMode throws.
class AnomalyError : public Error {
 public:
  using Error::Error;
};

}  // namespace moegrad

// Convolution as a layer.
#pragma once
#include "nn/init.h"
#include "nn/module.h"
#include "ops/conv2d.h"

namespace moegrad {

/// y = conv2d(x, weight, bias).
///   Shapes   x [.., C, H, W] -> y [.., O, p, q] as in ops/conv2d.h.  weight [O, C / groups, k, k],
///            bias [O]
///   Initial  as Linear with C k k / groups inputs
///   Errors   Error: a size < 1, groups do not divide C and O; otherwise as the op
struct Conv2d : Layer {
  struct Options {
    i64 kernel = 1;
    ConvOptions conv = {};
  };
  Conv2d(i64 in, i64 out, Init& init, Options options);
  Conv2d(i64 in, i64 out, Init& init) : Conv2d(in, out, init, Options{}) {}
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor weight, bias;
};

}  // namespace moegrad

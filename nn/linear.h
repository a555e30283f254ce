// y = x w^T + b as a layer.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

/// y = x weight^T + bias.
///   Shapes   x [.., in] -> y [.., out].  weight [out, in], bias [out] or absent
///   Initial  weight uniform on +-gain sqrt(3 / in), bias uniform on +-1/sqrt(in) as in PyTorch
///   Errors   ShapeError: the last axis of x is not `in`
struct Linear : Module {
  struct Options {
    bool bias = true;
    double gain = 0.57735026918962576;  ///< 1/sqrt(3), PyTorch's: weights within +-1/sqrt(in)
  };
  Linear(i64 in, i64 out, Init& init, Options options);
  Linear(i64 in, i64 out, Init& init) : Linear(in, out, init, Options{}) {}
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override;

  Tensor weight, bias;
};

}  // namespace moegrad

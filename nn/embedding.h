// A table of vectors, looked up by number.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

/// y[.., :] = weight[index[..], :].
///   Shapes   index [..] i32 or i64 -> y [.., width].  weight [count, width]
///   Initial  normal with the given deviation (1 as in PyTorch)
///   Errors   IndexError: an index outside [0, count)
struct Embedding : Module {
  Embedding(i64 count, i64 width, Init& init, double deviation = 1);
  Tensor forward(const Tensor& index) const;
  void members(Members& m) override { m.parameter("weight", weight); }

  Tensor weight;
};

}  // namespace moegrad

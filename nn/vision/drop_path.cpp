#include "nn/vision/drop_path.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace moegrad {

DropPath::DropPath(double probability) : p(probability) {
  if (!(p >= 0 && p <= 1)) throw Error(fmt::format("DropPath: p must be in [0, 1]; got {}", p));
}

Tensor DropPath::forward(const Tensor& x, Context& context) const {
  if (!context.training || p == 0) return x;
  if (x.rank() == 0) throw ShapeError("DropPath: x must be [B, ..]; got []");
  Shape samples = x.shape();  // [B, 1, ..]
  for (int axis = 1; axis < x.rank(); ++axis) samples[axis] = 1;
  return x * dropout(ones(samples, x.dtype(), x.device()), p, context.draw());
}

}  // namespace moegrad

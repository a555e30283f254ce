#include "nn/conv2d.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/linear.h"

namespace moegrad {

Conv2d::Conv2d(i64 in, i64 out, Init& init, Options o) : options(o) {
  const i64 groups = o.conv.groups;
  if (groups < 1 || in % groups != 0 || out % groups != 0 || o.kernel < 1 || in < 1 || out < 1)
    throw Error(
        fmt::format("Conv2d: in, out and kernel must be >= 1, and groups divide in and out; got in = {}, out = {}, "
                    "kernel = {}, groups = {}",
                    in, out, o.kernel, groups));
  const i64 channels = in / groups, inputs = channels * o.kernel * o.kernel;
  weight = init.kaiming_uniform({out, channels, o.kernel, o.kernel}, inputs, Linear::Options{}.gain);
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  bias = init.uniform({out}, -bound, bound);
}

Tensor Conv2d::forward(const Tensor& x, Context&) const { return conv2d(x, weight, bias, options.conv); }

void Conv2d::members(Members& m) {
  m.parameter("weight", weight);
  m.parameter("bias", bias);
}

}  // namespace moegrad

#include "nn/moe/quiet_routers.h"

#include <utility>

#include "ops/arithmetic.h"

namespace moegrad {
namespace {
thread_local bool quiet = false;
}

QuietRouters::QuietRouters() : before_(std::exchange(quiet, true)) {}
QuietRouters::~QuietRouters() { quiet = before_; }

Tensor router_noise(Context& context, Noise kind, const Shape& shape, DType dtype) {
  const Tensor y = context.noise(kind, shape, dtype);
  if (!quiet) return y;
  return full(shape, kind == Noise::uniform ? 0.5 : 0, dtype, y.device());
}

}  // namespace moegrad

// Gelu and its slope for results that are rounded to bf16.
//
// The exact forms (ops/activation.h) keep 22 bits by way of two divisions and an exponential that are rounded as on a
// CPU: about 110 instructions an element, four times what a GPU can make while its memory brings 2 bytes and takes 2.
// bf16 keeps 8 bits, so the GPU's own approximations serve: e^x to 2^-17 at worst (x = -105), a / b to 2^-22.
#pragma once
#include "core/math.h"
#include "cuda/launch.h"

namespace moegrad::cuda {

/// math::normal_cdf, and the density that its slope is, within 2^-15 of their values where these are normal numbers.
struct RoughNormal {
  float cdf, density;
  __device__ explicit RoughNormal(float x) {
    constexpr float kCenter = math::Format<float>::kErfcxCenter, kHighest = math::Format<float>::kCdfHigh;
    float a = math::abs(x);
    a = a > kHighest ? kHighest : a;
    const float e = __expf(-0.5f * a * a), b = 0x1.6a09e6p-1f * a;  // erfcx(b) = numerator / (1 + 2 b)
    const float numerator = math::erfcx_numerator(__fdividef(b - kCenter, b + kCenter));
    const float tail = 0.5f * e * __fdividef(numerator, math::mul_add(2.0f, b, 1.0f));
    cdf = x < 0 ? tail : 1 - tail;
    density = 0.3989422804f * e;
  }
};

struct RoughGelu {
  __device__ float operator()(float x) const { return x * RoughNormal(x).cdf; }
};
struct RoughGeluGradient {
  __device__ float operator()(float x, float dy) const {
    const RoughNormal n(x);
    return dy * math::mul_add(x, n.density, n.cdf);
  }
};

}  // namespace moegrad::cuda

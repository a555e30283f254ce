// The elementary functions of every kernel, for float and double, on CPU and GPU: branch-free, without tables and
// without calls, so a compiler turns a plain loop over them into vector code.
//
// Every product that feeds a sum goes through mul_add, which leaves the compiler nothing to contract: a scalar call, a
// vector loop, its remainder and a GPU kernel give the same bits (a machine without FMA rounds differently, within the
// same bounds). Each card's bound holds for every argument, and tests/core/math_test.cpp enforces it against long
// double over dense samples and edges; ulp = distance to the true value in units of the last place of the result.
// Subnormal arguments and results are kept, infinities and signed zeros are those of C (Annex F), and NaN gives NaN.
//
// The polynomials are our own minimax fits (Remez exchange in 60 digits, coefficients then rounded one by one).
#pragma once
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/fwd.h"

#if defined(__FAST_MATH__)
#error "core/math.h adds and subtracts constants to round, and tells NaN apart: -ffast-math would break both"
#endif

namespace moegrad::math {

// ---- Bits, rounding, selection -----------------------------------------------------------------------------------

template <class F> struct Format;
template <> struct Format<float> {
  using Bits = u32;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kRound = 0x1.8p23f;  // x + kRound - kRound is x rounded to an integer, ties to even
  static constexpr float kInfinity = __builtin_huge_valf(), kNan = __builtin_nanf("");
  static constexpr float kTiny = 0x1p-126f;          // the smallest normal number
  static constexpr float kLn2High = 0x1.62e4p-1f;    // few enough bits that n * kLn2High is exact for every exponent n
  static constexpr float kLn2Low = 0x1.7f7d1cp-20f;  // ln 2 - kLn2High
  static constexpr float kExpLow = -104, kExpHigh = 89;  // e^x is 0 below and infinite above
  static constexpr float kExpm1Low = -30;                // e^x - 1 is -1 below
  static constexpr float kErfHigh = 4, kTanhHigh = 10;   // erf and tanh are 1 above
  static constexpr float kErfcxCenter = 2;
  static constexpr float kErfcHigh = 10.5f, kCdfHigh = 14.5f;  // erfc(x) and the normal tail vanish above
  static constexpr Bits kSplit = ~Bits{0xFFF};                 // the upper half of the mantissa, whose square is exact
};
template <> struct Format<double> {
  using Bits = u64;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kInfinity = __builtin_huge_val(), kNan = __builtin_nan("");
  static constexpr double kTiny = 0x1p-1022;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kExpLow = -746, kExpHigh = 710;
  static constexpr double kExpm1Low = -45;
  static constexpr double kErfHigh = 6, kTanhHigh = 22;
  static constexpr double kErfcxCenter = 4;
  static constexpr double kErfcHigh = 27.5, kCdfHigh = 39;
  static constexpr Bits kSplit = ~Bits{0x7FFFFFF};
};

template <class F> MOEGRAD_HD inline typename Format<F>::Bits bits(F x) {
  typename Format<F>::Bits b;
  std::memcpy(&b, &x, sizeof b);  // std::bit_cast is not a device function
  return b;
}
template <class F> MOEGRAD_HD inline F from_bits(typename Format<F>::Bits b) {
  F x;
  std::memcpy(&x, &b, sizeof x);
  return x;
}

/// a * b + c, rounded once where the machine can, twice elsewhere.
MOEGRAD_HD inline float mul_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__) || defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
MOEGRAD_HD inline double mul_add(double a, double b, double c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__) || defined(__FP_FAST_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// c0 + c1 x + c2 x^2 + .., where z = x^2. In pairs, (c0 + c1 x) + z (..): as many operations as Horner's rule, but a
/// chain half as long, which is what limits a loop.
template <class F, class... Rest> MOEGRAD_HD inline F polynomial_in_pairs(F x, F z, F c0, F c1, Rest... rest) {
  const F pair = mul_add(c1, x, c0);
  if constexpr (sizeof...(rest) == 0)
    return pair;
  else if constexpr (sizeof...(rest) == 1)
    return mul_add(z, rest..., pair);
  else
    return mul_add(z, polynomial_in_pairs(x, z, rest...), pair);
}
/// c0 + c1 x + c2 x^2 + ..  The sum with c0 comes last and is exact to half an ulp.
template <class F, class... Rest> MOEGRAD_HD inline F polynomial(F x, F c0, Rest... rest) {
  return mul_add(x, polynomial_in_pairs(x, x * x, rest...), c0);
}

/// 2^n for an integer-valued n with -bias <= n <= bias (n = -bias gives 0).
template <class F> MOEGRAD_HD inline F pow2(F n) {
  using P = Format<F>;
  return from_bits<F>(bits(n + (P::kRound + P::kBias)) << P::kMantissa);
}

MOEGRAD_HD inline float abs(float x) { return __builtin_fabsf(x); }
MOEGRAD_HD inline double abs(double x) { return __builtin_fabs(x); }
MOEGRAD_HD inline float copysign(float x, float sign) { return __builtin_copysignf(x, sign); }
MOEGRAD_HD inline double copysign(double x, double sign) { return __builtin_copysign(x, sign); }

/// The larger (smaller) of two; NaN if either is NaN; of zeros of both signs, the second.
template <class F> MOEGRAD_HD inline F maximum(F a, F b) { return a > b || a != a ? a : b; }
template <class F> MOEGRAD_HD inline F minimum(F a, F b) { return a < b || a != a ? a : b; }

// ---- Exponentials ------------------------------------------------------------------------------------------------
// x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r (Cody and Waite: Software Manual for the Elementary Functions,
// 1980)

/// e^r - 1 for |r| <= 1/2, as r + r^2 q(r): no error of its own where r is small.
MOEGRAD_HD inline float expm1_reduced(float r) {
  return mul_add(
      r * r,
      polynomial(r, 0x1.000002p-1f, 0x1.555558p-3f, 0x1.55527ap-5f, 0x1.110edap-7f, 0x1.6ef24ep-10f, 0x1.a34dcap-13f),
      r);
}
MOEGRAD_HD inline double expm1_reduced(double r) {
  return mul_add(r * r,
                 polynomial(r, 0x1p-1, 0x1.55555555555e3p-3, 0x1.555555555561dp-5, 0x1.11111110f1b45p-7,
                            0x1.6c16c16be749ep-10, 0x1.a01a023011fb7p-13, 0x1.a01a0237f5eb3p-16, 0x1.71dd1a182877ap-19,
                            0x1.27e40ff38c981p-22, 0x1.b06fe10b8e66fp-26, 0x1.204cc17b2a2c9p-29),
                 r);
}

/// x / ln 2, rounded to an integer. |x| < 2^20.
template <class F> MOEGRAD_HD inline F nearest_power(F x) {
  return mul_add(x, static_cast<F>(0x1.71547652b82fep0), Format<F>::kRound) - Format<F>::kRound;
}
/// x - n ln 2. The first step is exact.
template <class F> MOEGRAD_HD inline F reduce(F x, F n) {
  return mul_add(n, -Format<F>::kLn2Low, mul_add(n, -Format<F>::kLn2High, x));
}

/// 2^n e^r for integer n. 2^n may lie outside the format while the result does not, so it is applied in two factors.
/// Only the last product can round, and only to a subnormal.
template <class F> MOEGRAD_HD inline F exp_reduced(F n, F r) {
  const F half = mul_add(n, F(0.5), Format<F>::kRound) - Format<F>::kRound;
  return (1 + expm1_reduced(r)) * pow2(half) * pow2(n - half);
}

/// x, limited to where e^x is neither 0 nor infinite for sure. Comparisons are false for NaN, which so passes through.
template <class F> MOEGRAD_HD inline F clamp_exponent(F x) {
  x = x < Format<F>::kExpLow ? Format<F>::kExpLow : x;
  return x > Format<F>::kExpHigh ? Format<F>::kExpHigh : x;
}

/// e^x.   Bound  1.1 ulp
template <class F> MOEGRAD_HD inline F exp(F x) {
  const F c = clamp_exponent(x), n = nearest_power(c);
  return exp_reduced(n, reduce(c, n));
}

/// e^x - 1, also for tiny x.   Bound  1.5 ulp
template <class F> MOEGRAD_HD inline F expm1(F x) {
  using P = Format<F>;
  F c = x < P::kExpm1Low ? P::kExpm1Low : x;
  c = c > P::kExpHigh ? P::kExpHigh : c;
  // n = 0 up to |x| = 1/2, not ln 2 / 2: sums such as 2 e + 1 double the error of e where the result is half as large.
  const F n = nearest_power(c - copysign(F(0.15), c));
  const F e = expm1_reduced(reduce(c, n));
  // 2^n e + (2^n - 1), halved, because 2^n alone may overflow; for n = 0 halving would cost subnormals a bit.
  const F half = pow2(n - 1);
  const F y = n == 0 ? e : 2 * mul_add(half, e, half - F(0.5));
  return copysign(y, x);  // for -0
}

// ---- Logarithms --------------------------------------------------------------------------------------------------
// x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); s = f / (2 + f) gives log(1 + f) = 2 atanh(s)
// (Tang: Table-driven implementation of the logarithm function, 1990; here without the table)

template <class F> struct Decomposed {
  F k, m;  // x = 2^k m
};
/// For a positive normal x.
template <class F> MOEGRAD_HD inline Decomposed<F> decompose(F x) {
  using P = Format<F>;
  using Bits = typename P::Bits;
  constexpr F kInteger = static_cast<F>(Bits{1} << P::kMantissa);  // its low bits count ones
  const Bits sqrt_half = bits(static_cast<F>(0x1.6a09e667f3bcdp-1));
  const Bits u = bits(x) + (bits(F(1)) - sqrt_half);  // the exponent field is now k + bias
  const F k = from_bits<F>((u >> P::kMantissa) | bits(kInteger)) - (kInteger + P::kBias);
  return {k, from_bits<F>((u & ((Bits{1} << P::kMantissa) - 1)) + sqrt_half)};
}

/// (2 atanh(s) - 2 s) / (s z) with z = s^2
MOEGRAD_HD inline float atanh_tail(float z) {
  return polynomial(z, 0x1.555554p-1f, 0x1.999a7ap-2f, 0x1.2438c2p-2f, 0x1.e2fa04p-3f);
}
MOEGRAD_HD inline double atanh_tail(double z) {
  return polynomial(z, 0x1.5555555555592p-1, 0x1.999999997fd67p-2, 0x1.24924941f7e6p-2, 0x1.c71c5201cc32fp-3,
                    0x1.746640e471482p-3, 0x1.39a17cb51521p-3, 0x1.2f083b5fa0339p-3);
}

/// k ln 2 + log(1 + f). With h = f^2 / 2, log(1 + f) = f - (h - s (h + z t(z))): the large terms, f and h, are nearly
/// exact.
template <class F> MOEGRAD_HD inline F log_sum(F k, F f) {
  const F s = f / (2 + f), z = s * s, half = F(0.5) * f;
  const F small = mul_add(s, mul_add(z, atanh_tail(z), half * f), k * Format<F>::kLn2Low);
  return mul_add(k, Format<F>::kLn2High, f - mul_add(half, f, -small));
}

/// Natural logarithm. log(+-0) = -inf; NaN for x < 0.   Bound  1 ulp
template <class F> MOEGRAD_HD inline F log(F x) {
  using P = Format<F>;
  constexpr int kLift = P::kMantissa + 2;
  const bool subnormal = x < P::kTiny;
  const Decomposed<F> d = decompose(subnormal ? x * static_cast<F>(u64{1} << kLift) : x);
  F y = log_sum(subnormal ? d.k - kLift : d.k, d.m - 1);
  y = x < P::kInfinity ? y : x;  // +inf and NaN
  y = x == 0 ? -P::kInfinity : y;
  return x < 0 ? P::kNan : y;
}

/// log(1 + x) for a finite x > -1, or NaN.
template <class F> MOEGRAD_HD inline F log1p_finite(F x) {
  const F u = 1 + x, x_rounded = u - 1;
  const F lost = (1 - (u - x_rounded)) + (x - x_rounded);  // 1 + x = u + lost, exactly (Knuth's two-sum)
  const Decomposed<F> d = decompose(u);
  // 2^-k is subnormal for the largest x, so half of its double; there `lost` does not count.
  const F f = mul_add(lost, F(0.5) * pow2(1 - d.k), d.m - 1);
  return copysign(log_sum(d.k, f), x);  // for -0
}

/// log(1 + x), also for tiny x. log1p(-1) = -inf; NaN for x < -1.   Bound  1.5 ulp
template <class F> MOEGRAD_HD inline F log1p(F x) {
  F y = log1p_finite(x);
  y = x < Format<F>::kInfinity ? y : x;
  y = x == -1 ? -Format<F>::kInfinity : y;
  return x < -1 ? Format<F>::kNan : y;
}

// ---- Sigmoids ----------------------------------------------------------------------------------------------------

/// (e^2x - 1) / (e^2x + 1).   Bound  2.5 ulp
template <class F> MOEGRAD_HD inline F tanh(F x) {
  const F a = abs(x);
  const F high = a > Format<F>::kTanhHigh ? Format<F>::kTanhHigh : a;
  // For small a by way of -a: the same quotient, but with e + 2 below 2 its rounding error is half as large.
  const F e = expm1(a < F(0.35) ? -2 * a : 2 * high);
  return copysign(e / (e + 2), x);
}

/// 1 / (1 + e^-x), with full relative accuracy where it is tiny.   Bound  2.5 ulp
template <class F> MOEGRAD_HD inline F sigmoid(F x) {
  const F e = exp(-abs(x));
  return (x < 0 ? e : F(1)) / (1 + e);
}

/// log(1 + e^x), with full relative accuracy where it is tiny.   Bound  2 ulp
template <class F> MOEGRAD_HD inline F softplus(F x) { return (x > 0 ? x : F(0)) + log1p_finite(exp(-abs(x))); }

// ---- Error function and normal distribution ----------------------------------------------------------------------

/// -log(erfc(a)) on [0, kErfHigh]: smooth, so a single polynomial serves all of it, fitted for the relative error of
/// erf. The leading coefficient, about 2 / sqrt(pi), has two parts, because its rounding error would be erf's for small
/// a.
MOEGRAD_HD inline float erf_exponent(float a) {
  const float rest = polynomial(a, -0x1.fbb0aap-25f, 0x1.45f308p-1f, 0x1.a4f37ep-4f, -0x1.39396cp-6f, -0x1.095aap-12f,
                                0x1.d7b0ap-10f, -0x1.84553ap-11f, 0x1.5f3bc2p-13f, -0x1.66457ep-16f, 0x1.40533cp-20f);
  return mul_add(a, 0x1.20dd76p0f, a * rest);
}
MOEGRAD_HD inline double erf_exponent(double a) {
  const double rest =
      polynomial(a, 0x1.1278dcc6eed7ap-56, 0x1.45f306dc9c884p-1, 0x1.a4f4e2a1b48b3p-4, -0x1.39668594e3e1ep-6,
                 -0x1.b6b684979ea48p-13, 0x1.bca673fd905fbp-10, -0x1.3564f6d7c0efap-11, 0x1.b1ff6b581e1f5p-16,
                 0x1.0ea02176418c2p-14, -0x1.f3d0789f2bdffp-16, 0x1.d8caf6bc04eefp-19, 0x1.67a68eec62a44p-19,
                 -0x1.a6add62230371p-20, 0x1.9d649d94502fdp-23, 0x1.fd94dfdd5f299p-23, -0x1.a99c01b85cb6ap-23,
                 0x1.8904424512423p-24, -0x1.05cd169869c15p-25, 0x1.0cb9058e6949p-27, -0x1.b0e252965fb54p-30,
                 0x1.10e338979db3cp-32, -0x1.089ebe47f0a4bp-35, 0x1.7d946411a5dabp-39, -0x1.816a78888c6e9p-43,
                 0x1.e689e0d773474p-48, -0x1.20b14cb2fcf32p-53);
  return mul_add(a, 0x1.20dd750429b6dp0, a * rest);
}

/// The error function, as 1 - e^(-g) with g = -log(erfc(|x|)): one formula that is as exact near 0 as near 1.
///   Bound  2.5 ulp
template <class F> MOEGRAD_HD inline F erf(F x) {
  F a = abs(x);
  a = a > Format<F>::kErfHigh ? Format<F>::kErfHigh : a;
  return copysign(expm1(-erf_exponent(a)), x);
}

/// (1 + 2b) e^(b^2) erfc(b) for b >= 0, which stays between 1 and 1.3, as a polynomial in t = (b - c) / (b + c) with
/// c = kErfcxCenter.
///   Source  Shepherd and Laframboise: Chebyshev approximation of (1 + 2x) exp(x^2) erfc x (1981); coefficients ours
MOEGRAD_HD inline float erfcx_numerator(float t) {
  return polynomial(t, 0x1.46e80ep0f, -0x1.7bf616p-4f, -0x1.54084ep-3f, 0x1.4ffc4ap-3f, -0x1.bc09c8p-5f,
                    -0x1.081d5cp-7f, 0x1.1aca7p-7f, 0x1.584656p-10f, -0x1.41e954p-10f, -0x1.a2d8c6p-12f);
}
MOEGRAD_HD inline double erfcx_numerator(double t) {
  return polynomial(t, 0x1.3ba5916e9fd7fp0, -0x1.1df1ad154a29bp-3, 0x1.f7f5df66fd7f7p-7, 0x1.16ecefcfa5f66p-4,
                    -0x1.9ddb23c3e909dp-4, 0x1.7fee004df845cp-4, -0x1.0fb06dfe4f8c7p-4, 0x1.3079edf9d10d5p-5,
                    -0x1.0962388232e54p-6, 0x1.49c671996d062p-8, -0x1.8d4a9e7092b54p-11, -0x1.a1de8655d7d54p-13,
                    0x1.3be0b9ea434c9p-13, -0x1.9969e360e1e7ap-16, -0x1.78a47b147ac82p-17, 0x1.7fb1dfc075829p-18,
                    0x1.437d54b2fee81p-22, -0x1.c0295c7e2daf6p-21, 0x1.0e1a64576d449p-24, 0x1.ee9bf9f307f34p-24,
                    -0x1.0d72d959e330bp-27, -0x1.d50235deb75dfp-27, -0x1.eed2ec3cd65eep-30);
}

/// e^(b^2) erfc(b) for b = scale a. (scale a is left to mul_add, as everywhere; its rounding would not matter.)
template <class F> MOEGRAD_HD inline F erfcx(F a, F scale) {
  constexpr F c = Format<F>::kErfcxCenter;
  return erfcx_numerator(mul_add(scale, a, -c) / mul_add(scale, a, c)) / mul_add(2 * scale, a, F(1));
}

/// e^(-scale a^2), for scale 1 or 1/2. The square is split into an exact part and a rest, or its rounding error would
/// appear in the result multiplied by the exponent.
template <class F> MOEGRAD_HD inline F exp_minus_square(F a, F scale) {
  const F high = from_bits<F>(bits(a) & Format<F>::kSplit);
  const F c = clamp_exponent(-scale * (high * high)), low = scale * (high - a), sum = a + high;
  const F n = nearest_power(mul_add(low, sum, c));
  return exp_reduced(n, mul_add(low, sum, reduce(c, n)));
}

/// 1 - erf(x), with full relative accuracy where it is tiny.   Bound  7 ulp
template <class F> MOEGRAD_HD inline F erfc(F x) {
  F a = abs(x);
  a = a > Format<F>::kErfcHigh ? Format<F>::kErfcHigh : a;
  const F e = exp_minus_square(a, F(1)), t = erfcx(a, F(1));
  return x < 0 ? mul_add(-e, t, F(2)) : e * t;
}

/// Probability that a standard normal number is below x: (1 + erf(x / sqrt(2))) / 2, but with full relative accuracy
/// where it is tiny. gelu(x) = x normal_cdf(x) so keeps its sign and digits for large negative x.   Bound  7 ulp
template <class F> MOEGRAD_HD inline F normal_cdf(F x) {
  F a = abs(x);
  a = a > Format<F>::kCdfHigh ? Format<F>::kCdfHigh : a;
  const F e = exp_minus_square(a, F(0.5)), t = F(0.5) * erfcx(a, static_cast<F>(0x1.6a09e667f3bcdp-1));
  return x < 0 ? e * t : mul_add(-e, t, F(1));
}

// ---- Angles ------------------------------------------------------------------------------------------------------

/// sin(2 pi t) / t - 2 pi, over t^2, and (cos(2 pi t) - 1) / t^2, for |t| <= 1/8, as functions of z = t^2
MOEGRAD_HD inline float sin_turn_tail(float z) {
  return polynomial(z, -0x1.4abbcep5f, 0x1.466bbcp6f, -0x1.32cb24p6f, 0x1.4be692p5f);
}
MOEGRAD_HD inline float cos_turn_tail(float z) {
  return polynomial(z, -0x1.3bd3ccp4f, 0x1.03c1dep6f, -0x1.55c664p6f, 0x1.d9f7c2p5f);
}
MOEGRAD_HD inline double sin_turn_tail(double z) {
  return polynomial(z, -0x1.4abbce625be47p5, 0x1.466bc67758d9p6, -0x1.32d2cce333e5bp6, 0x1.5078301c0210bp5,
                    -0x1.e300a6d46a1b9p3, 0x1.e403f27c344b1p1);
}
MOEGRAD_HD inline double cos_turn_tail(double z) {
  return polynomial(z, -0x1.3bd3cc9be45dep4, 0x1.03c1f081b5abp6, -0x1.55d3c7e3c95cdp6, 0x1.e1f50683b594p5,
                    -0x1.a6d1ecb830b16p4, 0x1.f9cc6b6b8c3d2p2, -0x1.b2700f3f70c32p0);
}

template <class F> struct SinCos { F sin, cos; };
/// sin(2 pi v) and cos(2 pi v) for an angle of v turns in [-1/2, 1/2].   Bound  2.5 ulp
template <class F> MOEGRAD_HD inline SinCos<F> sin_cos_turn(F v) {
  const F quarter = (4 * v + Format<F>::kRound) - Format<F>::kRound;  // -2 .. 2
  const F t = mul_add(quarter, F(-0.25), v), z = t * t;               // exact; |t| <= 1/8
  const F s = mul_add(t * z, sin_turn_tail(z), t * static_cast<F>(0x1.921fb54442d18p2));
  const F c = mul_add(z, cos_turn_tail(z), F(1));
  const F distance = abs(quarter);
  const F sine = distance == 1 ? c : s, cosine = distance == 1 ? s : c;
  return {distance == 2 || quarter == -1 ? -sine : sine, distance == 2 || quarter == 1 ? -cosine : cosine};
}

// ---- The C library's -----------------------------------------------------------------------------------------------
// Accurate on both devices, but a loop over sin, cos or pow is not vectorised.

MOEGRAD_HD inline float sqrt(float x) { return ::sqrtf(x); }
MOEGRAD_HD inline double sqrt(double x) { return ::sqrt(x); }
MOEGRAD_HD inline float sin(float x) { return ::sinf(x); }
MOEGRAD_HD inline double sin(double x) { return ::sin(x); }
MOEGRAD_HD inline float cos(float x) { return ::cosf(x); }
MOEGRAD_HD inline double cos(double x) { return ::cos(x); }
MOEGRAD_HD inline float pow(float x, float y) { return ::powf(x, y); }
MOEGRAD_HD inline double pow(double x, double y) { return ::pow(x, y); }

/// 1 / sqrt(x).   Bound  1.5 ulp
template <class F> MOEGRAD_HD inline F rsqrt(F x) { return 1 / sqrt(x); }

}  // namespace moegrad::math

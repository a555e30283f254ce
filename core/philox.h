// Random numbers without state: each number is a function of (seed, draw, step, its index). So the same numbers come
// out for any number of threads, in any order, on a CPU and on a GPU, and a run resumes from its step alone.
#pragma once
#include <type_traits>

#include "core/fwd.h"
#include "core/math.h"

namespace moegrad::random {

/// One output of the generator: four independent, uniformly distributed 32-bit words.
struct Words {
  u32 word[4];
};

/// Philox4x32-10: ten rounds that multiply, swap and add a key, which makes 128 random bits of a 128-bit counter.
///   Source  Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011), section 3.3
MOEGRAD_HD inline Words philox4x32(Words counter, u32 key0, u32 key1) {
  u32 a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const u64 product_a = u64{0xD2511F53} * a, product_c = u64{0xCD9E8D57} * c;
    a = static_cast<u32>(product_c >> 32) ^ b ^ key0;
    b = static_cast<u32>(product_c);
    c = static_cast<u32>(product_a >> 32) ^ d ^ key1;
    d = static_cast<u32>(product_a);
    key0 += 0x9E3779B9;  // the golden ratio and sqrt(3) - 1, in units of 2^-32
    key1 += 0xBB67AE85;
  }
  return {{a, b, c, d}};
}

/// The words of one block of a draw.
///   seed   names the experiment: the key
///   draw   names the purpose: each random op, initialiser or loader has its own number
///   step   counts the times that this purpose drew (a training step)
///   block  counts the blocks of four words within the draw
MOEGRAD_HD inline Words philox(u64 seed, u32 draw, u32 step, u64 block) {
  const Words counter{{static_cast<u32>(block), static_cast<u32>(block >> 32), draw, step}};
  return philox4x32(counter, static_cast<u32>(seed), static_cast<u32>(seed >> 32));
}

/// Numbers of type F (float or double) that one block yields: a float takes one word, a double two.
template <class F> inline constexpr int kPerBlock = 16 / static_cast<int>(sizeof(F));

/// The numbers of one block. Element i of a draw is value[i % kPerBlock<F>] of block i / kPerBlock<F>.
template <class F> struct Block {
  static_assert(std::is_same_v<F, float> || std::is_same_v<F, double>);
  F value[kPerBlock<F>];
};

/// Uniform on [0, 1): every multiple of 2^-24 (float) or 2^-53 (double) is equally likely. So u < p holds with the
/// probability p itself, rounded up to such a multiple: never for p = 0, always for p = 1.
template <class F> MOEGRAD_HD inline Block<F> uniform_block(Words w) {
  // By way of i32, because no vector unit before AVX-512 converts unsigned or 64-bit integers.
  Block<F> u;
  if constexpr (std::is_same_v<F, float>) {
    for (int k = 0; k < 4; ++k) u.value[k] = static_cast<float>(static_cast<i32>(w.word[k] >> 8)) * 0x1p-24f;
  } else {
    for (int k = 0; k < 2; ++k) {
      const double high = static_cast<i32>(w.word[2 * k] >> 5), low = static_cast<i32>(w.word[2 * k + 1] >> 6);
      u.value[k] = high * 0x1p-27 + low * 0x1p-53;  // 27 + 26 bits: exact
    }
  }
  return u;
}

/// Element i of a uniform draw, by itself. Equals what the fill kernels write there.
template <class F> MOEGRAD_HD inline F uniform(u64 seed, u32 draw, u32 step, i64 i) {
  const u64 index = static_cast<u64>(i);
  return uniform_block<F>(philox(seed, draw, step, index / kPerBlock<F>)).value[index % kPerBlock<F>];
}

/// Two standard normal numbers: the coordinates of a point in the plane at a random distance and angle.
///   distance  uniform on (0, 1]; never 0, whose logarithm is infinite
///   angle     uniform on [-1/2, 1/2], in turns
///   Source    Box and Muller: A note on the generation of random normal deviates (1958)
template <class F> MOEGRAD_HD inline math::SinCos<F> normal_pair(F distance, F angle) {
  const F radius = math::sqrt(-2 * math::log(distance));
  const math::SinCos<F> direction = math::sin_cos_turn(angle);
  return {radius * direction.sin, radius * direction.cos};
}

/// Standard normal. At most 6.7 (float) or 8.7 (double) from 0, beyond which a normal number lies with a probability of
/// 3e-11 or 5e-18.
template <class F> MOEGRAD_HD inline Block<F> normal_block(Words w) {
  if constexpr (std::is_same_v<F, float>) {
    const auto distance = [](u32 word) {  // 31 bits, because 32 would not fit an i32, and a half more than a multiple
      return math::mul_add(static_cast<float>(static_cast<i32>(word >> 1)), 0x1p-31f, 0x1p-32f);
    };
    const auto angle = [](u32 word) { return static_cast<float>(static_cast<i32>(word)) * 0x1p-32f; };
    const math::SinCos<F> first = normal_pair(distance(w.word[0]), angle(w.word[1]));
    const math::SinCos<F> second = normal_pair(distance(w.word[2]), angle(w.word[3]));
    return {{first.cos, first.sin, second.cos, second.sin}};
  } else {
    const Block<F> u = uniform_block<F>(w);
    const math::SinCos<F> pair = normal_pair(u.value[0] + 0x1p-54, u.value[1] - 0.5);
    return {{pair.cos, pair.sin}};
  }
}

/// Element i of a standard normal draw, by itself. Equals what the fill kernels write there.
template <class F> MOEGRAD_HD inline F normal(u64 seed, u32 draw, u32 step, i64 i) {
  const u64 index = static_cast<u64>(i);
  return normal_block<F>(philox(seed, draw, step, index / kPerBlock<F>)).value[index % kPerBlock<F>];
}

/// floor(a * b / 2^64), from 32-bit halves: neither ISO C++ nor a GPU has a portable 128-bit product.
MOEGRAD_HD inline u64 high_product(u64 a, u64 b) {
  const u64 a0 = static_cast<u32>(a), a1 = a >> 32, b0 = static_cast<u32>(b), b1 = b >> 32;
  const u64 middle = a1 * b0 + (a0 * b0 >> 32);  // at most (2^32 - 1)^2 + 2^32 - 1, no overflow; so below
  const u64 other = a0 * b1 + static_cast<u32>(middle);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

/// The two integers in [0, n) of one block, for n >= 1. Two words each; a value's probability is 1/n to within 2^-64.
///   Source  Lemire: Fast random integer generation in an interval (2019), arXiv:1805.10941, without the rejection:
///           its bias of n / 2^64 relative to 1/n cannot be seen in any run
struct IntegerBlock {
  u64 value[2];
};
MOEGRAD_HD inline IntegerBlock below_block(u64 n, Words w) {
  return {{high_product(u64{w.word[0]} << 32 | w.word[1], n), high_product(u64{w.word[2]} << 32 | w.word[3], n)}};
}

/// Element i of a draw of integers in [0, n), by itself. Equals what the fill kernel writes there.
MOEGRAD_HD inline i64 below(i64 n, u64 seed, u32 draw, u32 step, i64 i) {
  const u64 index = static_cast<u64>(i);
  const IntegerBlock block = below_block(static_cast<u64>(n), philox(seed, draw, step, index / 2));
  return static_cast<i64>(block.value[index % 2]);
}

}  // namespace moegrad::random

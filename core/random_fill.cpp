#include "core/random_fill.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/parallel.h"
#include "core/philox.h"

namespace moegrad {

namespace {

constexpr i64 kBatch = 64;  // blocks that the inner loop turns into vectors
constexpr i64 kGrain = 32;  // batches per thread: about 10 us

// Writes finish(number) for every number of the draw, whose blocks `make` turns from words into numbers. Lane b of each
// array belongs to block b, so that all three loops are free of shuffles but the last.
template <class T, class Make, class Finish> void fill(T* y, i64 n, random::Key key, Make make, Finish finish) {
  using Block = decltype(make(random::Words{}));
  constexpr i64 kPer = std::extent_v<decltype(Block::value)>, kElements = kBatch * kPer;
  const u32 step = static_cast<u32>(*key.step);
  parallel_for((n + kElements - 1) / kElements, kGrain, [&](i64 begin, i64 end) {
    for (i64 batch = begin; batch < end; ++batch) {
      u32 words[4][kBatch];
      T numbers[kPer][kBatch], out[kElements];
      for (i64 b = 0; b < kBatch; ++b) {
        const random::Words w = random::philox(key.seed, key.draw, step, static_cast<u64>(batch * kBatch + b));
        for (int k = 0; k < 4; ++k) words[k][b] = w.word[k];
      }
      for (i64 b = 0; b < kBatch; ++b) {
        const Block block = make(random::Words{{words[0][b], words[1][b], words[2][b], words[3][b]}});
        for (i64 k = 0; k < kPer; ++k) numbers[k][b] = finish(block.value[k]);
      }
      for (i64 b = 0; b < kBatch; ++b)
        for (i64 k = 0; k < kPer; ++k) out[b * kPer + k] = numbers[k][b];
      std::copy_n(out, std::min(kElements, n - batch * kElements), y + batch * kElements);
    }
  });
}

}  // namespace

void cpu::next_step(const i64* from, i64* to) { *to = *from + 1; }

template <class F> void cpu::fill_uniform(F* y, i64 n, random::Key key, F low, F high) {
  const F width = high - low;
  fill(
      y, n, key, [](random::Words w) { return random::uniform_block<F>(w); },
      [=](F u) {
        const F value = math::mul_add(u, width, low);
        return value < high ? value : low;  // rounding may reach `high`
      });
}

template <class F> void cpu::fill_normal(F* y, i64 n, random::Key key, F mean, F deviation) {
  fill(
      y, n, key, [](random::Words w) { return random::normal_block<F>(w); },
      [=](F z) { return math::mul_add(z, deviation, mean); });
}

template <class I> void cpu::fill_integers(I* y, i64 n, random::Key key, i64 low, u64 range) {
  fill(
      y, n, key, [=](random::Words w) { return random::below_block(range, w); },
      [=](u64 at) { return static_cast<I>(static_cast<u64>(low) + at); });
}

// Each place, from the last one down, takes one of the numbers that are left.
//   Source  Durstenfeld: Algorithm 235, random permutation (1964)
void cpu::fill_permutation(i64* y, i64 n, random::Key key) {
  const u32 step = static_cast<u32>(*key.step);
  for (i64 i = 0; i < n; ++i) y[i] = i;
  for (i64 i = n - 1; i > 0; --i) std::swap(y[i], y[random::below(i + 1, key.seed, key.draw, step, i)]);
}

template void cpu::fill_integers(i32*, i64, random::Key, i64, u64);
template void cpu::fill_integers(i64*, i64, random::Key, i64, u64);
template void cpu::fill_uniform(float*, i64, random::Key, float, float);
template void cpu::fill_uniform(double*, i64, random::Key, double, double);
template void cpu::fill_normal(float*, i64, random::Key, float, float);
template void cpu::fill_normal(double*, i64, random::Key, double, double);

}  // namespace moegrad

// Random numbers: one thread makes one block of the generator, 16 bytes of output for float and double, and writes them
// at once. Nothing is read but the step. Element i is a function of the key and i alone, as on the CPU.
#include "core/random_fill.h"

#include "core/fill.h"
#include "core/philox.h"
#include "cuda/counting.cuh"
#include "cuda/elementwise.cuh"

namespace moegrad::cuda {
namespace {

template <class F> struct Uniform {
  using Number = F;
  F low, width, high;
  __device__ Pack<F, random::kPerBlock<F>> operator()(random::Words w) const {
    const random::Block<F> u = random::uniform_block<F>(w);
    Pack<F, random::kPerBlock<F>> y;
    for (int k = 0; k < random::kPerBlock<F>; ++k) {
      const F v = math::mul_add(u.value[k], width, low);
      y.element[k] = v < high ? v : low;  // rounding may reach `high`
    }
    return y;
  }
};

template <class F> struct Normal {
  using Number = F;
  F mean, deviation;
  __device__ Pack<F, random::kPerBlock<F>> operator()(random::Words w) const {
    const random::Block<F> z = random::normal_block<F>(w);
    Pack<F, random::kPerBlock<F>> y;
    for (int k = 0; k < random::kPerBlock<F>; ++k) y.element[k] = math::mul_add(z.value[k], deviation, mean);
    return y;
  }
};

template <class I> struct Integers {
  using Number = I;
  i64 low;
  u64 range;
  __device__ Pack<I, 2> operator()(random::Words w) const {
    const random::IntegerBlock at = random::below_block(range, w);
    return {{static_cast<I>(static_cast<u64>(low) + at.value[0]), static_cast<I>(static_cast<u64>(low) + at.value[1])}};
  }
};

template <class Make>
__global__ void __launch_bounds__(kBlock)
    fill_random_kernel(typename Make::Number* y, i64 n, random::Key key, Make make, bool aligned) {
  using Numbers = decltype(make(random::Words{}));
  constexpr int kPer = static_cast<int>(sizeof(Numbers) / sizeof(typename Make::Number));
  const u32 step = static_cast<u32>(*key.step);
  const i64 blocks = (n + kPer - 1) / kPer;
  for (i64 b = first_index(); b < blocks; b += grid_stride()) {
    const Numbers numbers = make(random::philox(key.seed, key.draw, step, static_cast<u64>(b)));
    if (aligned && (b + 1) * kPer <= n) {
      reinterpret_cast<Numbers*>(y)[b] = numbers;
    } else {
      for (int k = 0; k < kPer; ++k)
        if (b * kPer + k < n) y[b * kPer + k] = numbers.element[k];
    }
  }
}

template <class Make> void fill_random(typename Make::Number* y, i64 n, random::Key key, Make make) {
  using Numbers = decltype(make(random::Words{}));
  constexpr i64 kPer = sizeof(Numbers) / sizeof(typename Make::Number);
  const Grid g = grid_for(n, kPer);
  const bool aligned = reinterpret_cast<std::uintptr_t>(y) % alignof(Numbers) == 0;
  launch("fill_random", g.blocks, g.threads, 0, fill_random_kernel<Make>, y, n, key, make, aligned);
}

__global__ void next_step_kernel(const i64* from, i64* to) { *to = *from + 1; }

// ---- the permutation
//
// The CPU swaps places i and j_i <= i for i = n - 1 .. 1, where j_i is number i of the draw. What ends at place i is what
// was at j_i before step i. That came there in the step before which met j_i, which is the next larger i' with the same
// j: it brought what was at i' before step i', which was met in the same way, and so on up to a place nobody met before,
// which still holds its own number. So every thread follows such a chain, of about log n steps, by itself.

__global__ void swap_partner_kernel(i64* partner, i64 n, random::Key key) {
  const u32 step = static_cast<u32>(*key.step);
  for (i64 i = first_index(); i < n; i += grid_stride())
    partner[i] = i == 0 ? 0 : random::below(i + 1, key.seed, key.draw, step, i);
}

// later[i]: the next larger step with the partner of i. first[p]: the smallest step above p whose partner is p. n: none.
__global__ void swap_links_kernel(const i64* partner, const i64* steps, i64* later, i64* first, i64 n) {
  for (i64 k = first_index(); k < n; k += grid_stride()) {
    const i64 p = partner[k], i = steps[k];
    const i64 next = k + 1 < n && partner[k + 1] == p ? steps[k + 1] : n;
    later[i] = next;
    if (k > 0 && partner[k - 1] == p) continue;
    first[p] = i > p ? i : next;
  }
}

__global__ void permutation_kernel(const i64* partner, const i64* later, const i64* first, i64* y, i64 n) {
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    i64 at = partner[i];
    for (i64 step = at == i ? first[i] : later[i]; step < n; step = first[step]) at = step;
    y[i] = at;
  }
}

}  // namespace

void next_step(const i64* from, i64* to) { launch("next_step", 1, 1, 0, next_step_kernel, from, to); }

template <class F> void fill_uniform(F* y, i64 n, random::Key key, F low, F high) {
  fill_random(y, n, key, Uniform<F>{low, high - low, high});
}
template <class F> void fill_normal(F* y, i64 n, random::Key key, F mean, F deviation) {
  fill_random(y, n, key, Normal<F>{mean, deviation});
}
template <class I> void fill_integers(I* y, i64 n, random::Key key, i64 low, u64 range) {
  fill_random(y, n, key, Integers<I>{low, range});
}

void fill_permutation(i64* y, i64 n, random::Key key) {
  if (n == 0) return;
  const Grid g = grid_for(n);
  const Scratch<i64> partner(n), sorted(n), steps(n), later(n), first(n);
  launch("fill_permutation", g.blocks, g.threads, 0, swap_partner_kernel, partner.data(), n, key);
  sort_by_key(partner.data(), n, n - 1, sorted.data(), steps.data());
  fill_value(first.data(), n, n);
  launch("fill_permutation", g.blocks, g.threads, 0, swap_links_kernel, sorted.data(), steps.data(), later.data(),
         first.data(), n);
  launch("fill_permutation", g.blocks, g.threads, 0, permutation_kernel, partner.data(), later.data(), first.data(), y,
         n);
}

template void fill_integers(i32*, i64, random::Key, i64, u64);
template void fill_integers(i64*, i64, random::Key, i64, u64);
template void fill_uniform(float*, i64, random::Key, float, float);
template void fill_uniform(double*, i64, random::Key, double, double);
template void fill_normal(float*, i64, random::Key, float, float);
template void fill_normal(double*, i64, random::Key, double, double);

}  // namespace moegrad::cuda

// Updates of parameters, many tensors in a launch. A first kernel, of one thread for each tensor, counts the steps and
// works out the coefficients in f64; the second one streams: a block takes kChunk elements of one tensor, 16 bytes of a
// state at a time. Every element of w, its gradient and its states is read once, and all but the gradient written once.
#include "ops/update.h"

#include "cuda/elementwise.cuh"

namespace moegrad::cuda {
namespace {

constexpr int kTensors = 48;     // of a launch: their addresses are arguments, of which there may be 4 KB
constexpr i64 kChunk = 1 << 12;  // elements

// ---- coefficients

struct Steps {
  i64* step[kTensors];
};
template <class Step, class C> struct Prepared {
  Step step;
  C scale;
};
template <class Step, class C, class Rule>
__global__ void prepare_update_kernel(Steps steps, int count, UpdateClock clock, Rule rule, Prepared<Step, C>* out) {
  const C scale = clock.scale ? static_cast<C>(*clock.scale) : C(1);
  for (i64 i = first_index(); i < count; i += grid_stride()) {
    const i64 t = *steps.step[i] + (clock.count ? 1 : 0);
    if (clock.count) *steps.step[i] = t;
    out[i] = {formula::at<C>(rule, *clock.lr * clock.lr_scale, t), scale};
  }
}

// ---- elements

template <class F> struct Parts {
  UpdateArrays<F> x[kTensors];
  bool packs[kTensors];  // every pointer lies at a multiple of what is read at once
  unsigned first_block[kTensors + 1];
  int count = 0;
};
static_assert(sizeof(Parts<float>) <= 4000);

/// Elements that a thread takes at once.
template <class F> inline constexpr int kPack = static_cast<int>(16 / sizeof(Computed<F>));

template <int V, class T> __device__ inline Pack<T, V>& pack_at(T* x, i64 i) {
  return reinterpret_cast<Pack<T, V>*>(x)[i];
}
template <int V, class T> __device__ inline const Pack<T, V>& pack_at(const T* x, i64 i) {
  return reinterpret_cast<const Pack<T, V>*>(x)[i];
}

// Elements i V, i V + 1, .. of the tensor.
template <unsigned Uses, int V, class F, class Step>
__device__ inline void update_pack(const UpdateArrays<F>& x, i64 i, const Prepared<Step, Computed<F>>& at) {
  using C = Computed<F>;
  Pack<F, V> w = pack_at<V>(x.w, i);
  const Pack<F, V> dw = pack_at<V>(x.dw, i);
  Pack<C, V> a{}, b{}, c{};
  if constexpr ((Uses & 1) != 0) a = pack_at<V>(x.states[0], i);
  if constexpr ((Uses & 2) != 0) b = pack_at<V>(x.states[1], i);
  if constexpr ((Uses & 4) != 0) c = pack_at<V>(x.states[2], i);
  for (int k = 0; k < V; ++k) {
    C p = value(w.element[k]);
    at.step.template apply<Uses>(p, at.scale * value(dw.element[k]), a.element[k], b.element[k], c.element[k]);
    w.element[k] = convert<F>(p);
  }
  pack_at<V>(x.w, i) = w;
  if constexpr ((Uses & 1) != 0) pack_at<V>(x.states[0], i) = a;
  if constexpr ((Uses & 2) != 0) pack_at<V>(x.states[1], i) = b;
  if constexpr ((Uses & 4) != 0) pack_at<V>(x.states[2], i) = c;
}

template <unsigned Uses, class F, class Step>
__global__ void __launch_bounds__(kBlock) update_kernel(Parts<F> parts, const Prepared<Step, Computed<F>>* prepared) {
  constexpr int V = kPack<F>;
  for (unsigned block = blockIdx.x; block < parts.first_block[parts.count]; block += gridDim.x) {
    int low = 0;  // the last tensor whose first block is not behind this one
    for (int high = parts.count; high - low > 1;) {
      const int middle = (low + high) / 2;
      (parts.first_block[middle] <= block ? low : high) = middle;
    }
    const UpdateArrays<F>& x = parts.x[low];
    const Prepared<Step, Computed<F>> at = prepared[low];
    i64 i = (block - parts.first_block[low]) * kChunk;
    const i64 end = x.n - i < kChunk ? x.n : i + kChunk;
    if (parts.packs[low]) {
      for (i64 p = i / V + threadIdx.x; p < end / V; p += blockDim.x) update_pack<Uses, V>(x, p, at);
      i = end / V * V;
    }
    for (i += threadIdx.x; i < end; i += blockDim.x) update_pack<Uses, 1>(x, i, at);
  }
}

// ---- launches

template <class F> bool in_packs(const UpdateArrays<F>& x) {
  constexpr std::uintptr_t wide = 16, narrow = kPack<F> * sizeof(F);
  std::uintptr_t states = 0;
  for (const Computed<F>* s : x.states) states |= reinterpret_cast<std::uintptr_t>(s);
  const auto w = reinterpret_cast<std::uintptr_t>(x.w), dw = reinterpret_cast<std::uintptr_t>(x.dw);
  return states % wide == 0 && (w | dw) % narrow == 0;
}

// At most kTensors of them.
template <unsigned Uses, class F, class Rule>
void update_some(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule) {
  using C = Computed<F>;
  using Step = decltype(formula::at<C>(rule, 0.0, 1));
  const int count = static_cast<int>(list.size());
  Parts<F> parts{};
  Steps steps{};
  i64 blocks = 0, most = 0;
  for (int i = 0; i < count; ++i) {
    const UpdateArrays<F>& x = list[static_cast<std::size_t>(i)];
    steps.step[i] = x.step;
    parts.x[i] = x;
    parts.packs[i] = in_packs(x);
    parts.first_block[i] = static_cast<unsigned>(blocks);
    blocks += (x.n + kChunk - 1) / kChunk;
    most = std::max(most, std::min(x.n, kChunk));
  }
  parts.first_block[count] = static_cast<unsigned>(blocks);
  parts.count = count;
  const Scratch<Prepared<Step, C>> prepared(count);
  launch("prepare_update", dim3(1), threads_for(count), 0, prepare_update_kernel<Step, C, Rule>, steps, count, clock,
         rule, prepared.data());
  launch("update", dim3(static_cast<unsigned>(blocks)), threads_for((most + kPack<F> - 1) / kPack<F>), 0,
         update_kernel<Uses, F, Step>, parts, prepared.data());
}

// The states that a rule can have.
constexpr bool has(const SgdRule*, unsigned uses) { return uses <= 1; }
constexpr bool has(const AdamRule*, unsigned uses) { return uses == 3 || uses == 7; }
constexpr bool has(const RmspropRule*, unsigned uses) { return uses % 2 == 1; }
constexpr bool has(const AdagradRule*, unsigned uses) { return uses == 1; }
constexpr bool has(const LionRule*, unsigned uses) { return uses == 1; }

template <unsigned Uses, class F, class Rule>
void update_where(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule) {
  if constexpr (has(static_cast<const Rule*>(nullptr), Uses))
    if (clock.uses == Uses)
      for (; !list.empty(); list = list.subspan(std::min<std::size_t>(list.size(), kTensors)))
        update_some<Uses>(list.first(std::min<std::size_t>(list.size(), kTensors)), clock, rule);
}

template <class F> struct Average {
  F old, fresh;
  __device__ F operator()(F y, F x) const { return math::mul_add(old, y, fresh * x); }
};

__global__ void count_up_kernel(i64* x) {
  if (first_index() == 0) ++*x;
}

}  // namespace

template <class F, class Rule>
void update(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule) {
  update_where<0>(list, clock, rule);
  update_where<1>(list, clock, rule);
  update_where<3>(list, clock, rule);
  update_where<5>(list, clock, rule);
  update_where<7>(list, clock, rule);
}

template <class F> void average_update(F* y, const F* x, i64 n, double keep) {
  using C = Computed<F>;
  Nest<3> nest;
  nest.sizes[0] = n;
  for (auto& stride : nest.strides) stride[0] = 1;
  map_any(std::index_sequence<0, 1>{}, Average<C>{static_cast<C>(keep), static_cast<C>(1 - keep)}, nest, y,
          static_cast<const F*>(y), x);
}

void count_up(i64* x) { launch("count_up", dim3(1), dim3(kWarp), 0, count_up_kernel, x); }

#define MOEGRAD_UPDATE(F, RULE) template void update(std::span<const UpdateArrays<F>>, const UpdateClock&, const RULE&);
#define MOEGRAD_UPDATES(F)       \
  MOEGRAD_UPDATE(F, SgdRule)     \
  MOEGRAD_UPDATE(F, AdamRule)    \
  MOEGRAD_UPDATE(F, RmspropRule) \
  MOEGRAD_UPDATE(F, AdagradRule) \
  MOEGRAD_UPDATE(F, LionRule)    \
  template void average_update(F*, const F*, i64, double);
MOEGRAD_UPDATES(float)
MOEGRAD_UPDATES(double)
MOEGRAD_UPDATES(bf16)

}  // namespace moegrad::cuda

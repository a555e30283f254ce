// Gradients of gated pairs: dgate = dy up op'(gate) and dup = dy op(gate) in one pass, three reads and two writes.
// Dense operands are read and written 16 bytes at a time; any other layout takes one element for each thread.
#include "cuda/elementwise.cuh"
#include "ops/activation.h"

namespace moegrad::cuda {
namespace {

template <class F> struct GatedOperands {
  const F *gate, *up, *dy;
  F *dgate, *dup;
};

template <int V, class Op, class F>
__global__ void __launch_bounds__(kBlock) gated_dense_kernel(Op op, i64 n, GatedOperands<F> p) {
  using P = Pack<F, V>;
  for (i64 i = first_index(); i < n / V; i += grid_stride()) {
    const P gate = reinterpret_cast<const P*>(p.gate)[i], up = reinterpret_cast<const P*>(p.up)[i],
            dy = reinterpret_cast<const P*>(p.dy)[i];
    P dgate, dup;
    for (int k = 0; k < V; ++k) {
      const Computed<F> x = value(gate.element[k]), d = value(dy.element[k]);
      dgate.element[k] = convert<F>(d * value(up.element[k]) * op.slope(x));
      dup.element[k] = convert<F>(d * op(x));
    }
    reinterpret_cast<P*>(p.dgate)[i] = dgate;
    reinterpret_cast<P*>(p.dup)[i] = dup;
  }
}

template <class Op, class F>
__global__ void __launch_bounds__(kBlock) gated_nest_kernel(Op op, i64 n, Nest<5> nest, GatedOperands<F> p) {
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    const Offsets<5> at(nest, i);
    const Computed<F> x = value(p.gate[at.of[0]]), d = value(p.dy[at.of[2]]);
    p.dgate[at.of[3]] = convert<F>(d * value(p.up[at.of[1]]) * op.slope(x));
    p.dup[at.of[4]] = convert<F>(d * op(x));
  }
}

}  // namespace

template <class Op, class F>
void gated_gradient(Op op, const F* gate, const F* up, const F* dy, F* dgate, F* dup, const Nest<5>& nest) {
  constexpr int V = static_cast<int>(16 / sizeof(F));
  const GatedOperands<F> p{gate, up, dy, dgate, dup};
  const i64 n = nest.elements();
  bool packs = n % V == 0;
  for (const F* q : {gate, up, dy, static_cast<const F*>(dgate), static_cast<const F*>(dup)})
    packs = packs && reinterpret_cast<std::uintptr_t>(q) % 16 == 0;
  for (int k = 0; k < 5; ++k) packs = packs && nest.dense(k);
  if (packs) {
    const Grid g = grid_for(n, V);
    launch("gated_gradient", g.blocks, g.threads, 0, gated_dense_kernel<V, Op, F>, op, n, p);
  } else {
    const Grid g = grid_for(n);
    launch("gated_gradient", g.blocks, g.threads, 0, gated_nest_kernel<Op, F>, op, n, nest, p);
  }
}

#define MOEGRAD_GATED(OP, F) template void gated_gradient(OP, const F*, const F*, const F*, F*, F*, const Nest<5>&);
MOEGRAD_GATED(formula::Silu, float)
MOEGRAD_GATED(formula::Silu, double)
MOEGRAD_GATED(formula::Silu, bf16)
MOEGRAD_GATED(formula::Gelu, float)
MOEGRAD_GATED(formula::Gelu, double)
MOEGRAD_GATED(formula::Gelu, bf16)

}  // namespace moegrad::cuda

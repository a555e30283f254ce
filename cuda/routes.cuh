// What the kernels of routes share: where a row's route leads, and sums of feature vectors held in registers.
//
// A row is worked on by `lanes` neighbouring threads, each of which holds up to kHeld packs of V features. Packs have 16
// bytes where everything is aligned; else V is 1. Longer rows are cut into parts, which are worked on by themselves.
#pragma once
#include "cuda/elementwise.cuh"
#include "ops/arithmetic.h"
#include "ops/routes.h"

namespace moegrad::cuda {

/// A row of the table: its offsets in both operands, the scale and the index tables.
struct RoutePlace {
  i64 x = 0, y = 0, scale = 0;
  i64 index[kMaxClassAxes] = {};

  /// Goes on by row `flat` of the axes [first, last), in row-major order.
  __device__ void go(const RouteLoop& loop, i64 flat, int first, int last) {
    for (int a = last - 1; a > first; --a) {
      const i64 size = loop.size[a];
      // a division of 64 bits takes several times as long
      const i64 next =
          flat <= 0xffffffff ? static_cast<i64>(static_cast<u32>(flat) / static_cast<u32>(size)) : flat / size;
      move(loop, a, flat - next * size);
      flat = next;
    }
    if (last > first) move(loop, first, flat);
  }
  /// Adds the offsets of the row's classes to x and y; false for an empty row.
  __device__ bool follow(const RouteLoop& loop) {
    bool full = true;
    for (int j = 0; j < loop.classes; ++j) {
      const i64 c = loop.index[j][index[j]];
      full = full && c >= 0;
      x += c * loop.x_class[j];
      y += c * loop.y_class[j];
    }
    return full;
  }

 private:
  __device__ void move(const RouteLoop& loop, int axis, i64 by) {
    x += by * loop.x[axis], y += by * loop.y[axis], scale += by * loop.scale[axis];
    for (int j = 0; j < loop.classes; ++j) index[j] += by * loop.index_stride[j][axis];
  }
};

inline i64 rows_of(const RouteLoop& loop, int first, int last) {
  i64 n = 1;
  for (int a = first; a < last; ++a) n *= loop.size[a];
  return n;
}

inline constexpr int kHeld = 4;

/// How threads share the features of a row.
struct RouteSplit {
  i64 packs;  // of a row
  i64 parts;  // of lanes kHeld packs
  int lanes;
  RouteSplit(i64 features, int pack, int held) : packs(features / pack), lanes(1) {
    while (lanes < kWarp && lanes < packs) lanes *= 2;
    parts = (packs + i64{lanes} * held - 1) / (i64{lanes} * held);
  }
};

/// The packs of a thread: first, first + lanes, .. below the row's.
struct RoutePart {
  i64 first, packs;
  int lanes;
  __device__ RoutePart(const RouteSplit& s, i64 part)
      : first(part * s.lanes * kHeld + threadIdx.x % s.lanes), packs(s.packs), lanes(s.lanes) {}
};

/// A sum of w x over rows.
template <class F, int V> class RouteSum {
 public:
  using C = Computed<F>;
  __device__ RouteSum() { clear(); }
  __device__ void clear() {
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
      for (int v = 0; v < V; ++v) value_[h][v] = C(0);
    empty_ = true;
  }
  /// The first row is taken as it is (0 + -0 would be 0); integers wrap around.
  __device__ void add(const F* x, i64 step, C w, const RoutePart& part) {
#pragma unroll
    for (int h = 0; h < kHeld; ++h) {
      const i64 pack = part.first + h * part.lanes;
      if (pack >= part.packs) break;
      const Pack<F, V> p = load(x, step, pack);
      for (int v = 0; v < V; ++v) {
        const C product = formula::Mul{}(w, value(p.element[v]));
        value_[h][v] = empty_ ? product : formula::Add{}(value_[h][v], product);
      }
    }
    empty_ = false;
  }
  template <class Y> __device__ void store(Y* y, const RoutePart& part) const {
#pragma unroll
    for (int h = 0; h < kHeld; ++h) {
      const i64 pack = part.first + h * part.lanes;
      if (pack >= part.packs) break;
      Pack<Y, V> p;
      for (int v = 0; v < V; ++v) p.element[v] = convert<Y>(value_[h][v]);
      reinterpret_cast<Pack<Y, V>*>(y)[pack] = p;
    }
  }

 private:
  __device__ static Pack<F, V> load(const F* x, i64 step, i64 pack) {
    if constexpr (V == 1)
      return {{x[pack * step]}};
    else
      return reinterpret_cast<const Pack<F, V>*>(x)[pack];
  }
  C value_[kHeld][V];
  bool empty_;
};

template <class F> __device__ inline Computed<F> weight_at(const F* scale, i64 row) {
  return scale ? value(scale[row]) : Computed<F>(1);
}

/// Whether every row of an operand can be read in packs of 16 bytes.
template <class F>
bool route_packs(const F* p, const RouteLoop& loop, const i64* strides, const i64* class_strides, i64 feature_stride) {
  constexpr i64 V = 16 / sizeof(F);
  bool fits = feature_stride == 1 && loop.features % V == 0 && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (int a = 0; a < loop.axes; ++a) fits = fits && (loop.size[a] == 1 || strides[a] % V == 0);
  for (int j = 0; j < loop.classes; ++j) fits = fits && class_strides[j] % V == 0;
  return fits;
}

/// Sums of whole runs of rows, whatever their lengths: y[d] = the sum of rows order[begin[d]] .. order[begin[d + 1] - 1],
/// or, without begin and order, of the rows d summed .. (d + 1) summed - 1. For cuda/routes.cu.
struct RouteRuns {
  const i64 *begin, *order;
  i64 destinations, summed;
  __device__ i64 first(i64 d) const { return begin ? begin[d] : d * summed; }
};
template <class F> void sum_route_runs(const F* x, const F* scale, F* y, const RouteLoop& loop, const RouteRuns& runs);

}  // namespace moegrad::cuda

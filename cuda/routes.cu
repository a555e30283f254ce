// Values along routes. A row is worked on by as many lanes of a warp as it has packs of 16 bytes (cuda/routes.cuh):
// x is read and y written once, 16 bytes at a time. Rows that meet in a sum are added up by the same thread in their
// order, or, where they are many, in the fixed tree of cuda/route_sums.cu: the same bits every run.
#include "cuda/routes.cuh"

#include "cuda/counting.cuh"
#include "cuda/reduce.cuh"

namespace moegrad::cuda {
namespace {

template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    route_gather_kernel(const F* x, const F* scale, F* y, RouteLoop loop, i64 rows, i64 summed, RouteSplit s) {
  const i64 stride = grid_stride() / s.lanes;
  for (i64 item = first_index() / s.lanes; item < rows * s.parts; item += stride) {
    const RoutePart part(s, item % s.parts);
    RoutePlace outer;
    outer.go(loop, item / s.parts, 0, loop.outer);
    RouteSum<F, V> sum;
    for (i64 k = 0; k < summed; ++k) {
      RoutePlace at = outer;
      at.go(loop, k, loop.outer, loop.axes);
      if (at.follow(loop)) sum.add(x + at.x, loop.x_feature, weight_at(scale, at.scale), part);
    }
    sum.store(y + outer.y, part);
  }
}

// Each row has a place of its own in y, which holds zeros.
template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    route_scatter_kernel(const F* x, const F* scale, F* y, RouteLoop loop, i64 rows, RouteSplit s) {
  const i64 stride = grid_stride() / s.lanes;
  for (i64 item = first_index() / s.lanes; item < rows * s.parts; item += stride) {
    const RoutePart part(s, item % s.parts);
    RoutePlace at;
    at.go(loop, item / s.parts, 0, loop.axes);
    if (!at.follow(loop)) continue;
    RouteSum<F, V> sum;
    sum.add(x + at.x, loop.x_feature, weight_at(scale, at.scale), part);
    sum.store(y + at.y, part);
  }
}

// The dot product of the packs of this lane.
template <class F, int V>
__device__ Computed<F> dot_of_lane(const F* x, const F* y, const RouteLoop& loop, const RouteSplit& s) {
  Computed<F> total = 0;
  for (i64 pack = threadIdx.x % s.lanes; pack < s.packs; pack += s.lanes) {
    if constexpr (V == 1) {
      total += value(x[pack * loop.x_feature]) * value(y[pack * loop.y_feature]);
    } else {
      const Pack<F, V> p = reinterpret_cast<const Pack<F, V>*>(x)[pack],
                       q = reinterpret_cast<const Pack<F, V>*>(y)[pack];
      for (int v = 0; v < V; ++v) total += value(p.element[v]) * value(q.element[v]);
    }
  }
  return total;
}

template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    route_dots_kernel(const F* x, const F* y, F* d, RouteLoop loop, i64 rows, RouteSplit s) {
  const i64 per_warp = kWarp / s.lanes, stride = grid_stride() / s.lanes;
  for (i64 first = first_index() / kWarp * per_warp; first < rows; first += stride) {  // the same for all lanes
    const i64 row = first + threadIdx.x % kWarp / s.lanes;
    RoutePlace at;
    bool full = false;
    if (row < rows) {
      at.go(loop, row, 0, loop.axes);
      full = at.follow(loop);
    }
    Computed<F> total = full ? dot_of_lane<F, V>(x + at.x, y + at.y, loop, s) : Computed<F>(0);
    for (int by = 1; by < s.lanes; by *= 2) total += shuffle_xor(total, by);
    if (row < rows && threadIdx.x % s.lanes == 0) d[at.scale] = convert<F>(total);
  }
}

__global__ void __launch_bounds__(kBlock) destination_kernel(RouteLoop loop, i64 rows, i64 none, i64* keys) {
  for (i64 row = first_index(); row < rows; row += grid_stride()) {
    RoutePlace at;
    at.go(loop, row, 0, loop.axes);
    keys[row] = at.follow(loop) ? at.y : none;
  }
}

// Threads for `items` of s.lanes threads each.
Grid route_grid(i64 items, const RouteSplit& s) { return grid_for(items * s.lanes); }

template <class F, int V> void gather_in_packs(const F* x, const F* scale, F* y, const RouteLoop& loop, i64 summed) {
  const RouteSplit s(loop.features, V, kHeld);
  const i64 rows = rows_of(loop, 0, loop.outer);
  const Grid g = route_grid(rows * s.parts, s);
  launch("route_gather", g.blocks, g.threads, 0, route_gather_kernel<F, V>, x, scale, y, loop, rows, summed, s);
}
template <class F, int V> void scatter_in_packs(const F* x, const F* scale, F* y, const RouteLoop& loop) {
  const RouteSplit s(loop.features, V, kHeld);
  const i64 rows = rows_of(loop, 0, loop.axes);
  const Grid g = route_grid(rows * s.parts, s);
  launch("route_scatter", g.blocks, g.threads, 0, route_scatter_kernel<F, V>, x, scale, y, loop, rows, s);
}
template <class F, int V> void dots_in_packs(const F* x, const F* y, F* d, const RouteLoop& loop) {
  const RouteSplit s(loop.features, V, 1);
  const i64 rows = rows_of(loop, 0, loop.axes);
  const Grid g = route_grid(rows, s);
  launch("route_dots", g.blocks, g.threads, 0, route_dots_kernel<F, V>, x, y, d, loop, rows, s);
}

template <class F> bool reads_packs(const F* x, const F* y, const RouteLoop& loop) {
  return route_packs(x, loop, loop.x, loop.x_class, loop.x_feature) &&
         route_packs(y, loop, loop.y, loop.y_class, loop.y_feature);
}

constexpr i64 kManySummed = 64;  // rows that one thread should not add up

}  // namespace

template <class F> void route_gather(const F* x, const F* scale, F* y, const RouteLoop& loop) {
  constexpr int V = static_cast<int>(16 / sizeof(F));
  const i64 summed = rows_of(loop, loop.outer, loop.axes);
  if constexpr (sizeof(F) > 1 && !std::is_same_v<F, std::uint16_t>)  // those are copies
    if (summed >= kManySummed)
      return sum_route_runs(x, scale, y, loop, {nullptr, nullptr, rows_of(loop, 0, loop.outer), summed});
  if (reads_packs<F>(x, y, loop))
    gather_in_packs<F, V>(x, scale, y, loop, summed);
  else
    gather_in_packs<F, 1>(x, scale, y, loop, summed);
}

template <class F> void route_scatter(const F* x, const F* scale, F* y, const RouteLoop& loop) {
  constexpr int V = static_cast<int>(16 / sizeof(F));
  if (reads_packs<F>(x, y, loop))
    scatter_in_packs<F, V>(x, scale, y, loop);
  else
    scatter_in_packs<F, 1>(x, scale, y, loop);
}

template <class F>
void route_scatter_inverse(const F* x, const F* scale, F* y, const RouteLoop& loop, const i64* begin, const i64* order,
                           i64 destinations) {
  sum_route_runs(x, scale, y, loop, {begin, order, destinations, 0});
}

template <class F> void route_dots(const F* x, const F* y, F* d, const RouteLoop& loop) {
  constexpr int V = static_cast<int>(16 / sizeof(F));
  if (reads_packs(x, y, loop))
    dots_in_packs<F, V>(x, y, d, loop);
  else
    dots_in_packs<F, 1>(x, y, d, loop);
}

void invert_routes(const RouteLoop& loop, i64 destinations, i64* begin, i64* order) {
  const i64 rows = rows_of(loop, 0, loop.axes);
  const Scratch<i64> keys(rows), sorted(rows);
  const Grid g = grid_for(rows);
  launch("invert_routes", g.blocks, g.threads, 0, destination_kernel, loop, rows, destinations, keys.data());
  sort_by_key(keys.data(), rows, destinations, sorted.data(), order);
  first_places(sorted.data(), rows, begin, destinations + 1);
}

template void route_gather(const unsigned char*, const unsigned char*, unsigned char*, const RouteLoop&);
template void route_gather(const std::uint16_t*, const std::uint16_t*, std::uint16_t*, const RouteLoop&);

#define MOEGRAD_ROUTES(F)                                                \
  template void route_gather(const F*, const F*, F*, const RouteLoop&);  \
  template void route_scatter(const F*, const F*, F*, const RouteLoop&); \
  template void route_scatter_inverse(const F*, const F*, F*, const RouteLoop&, const i64*, const i64*, i64);
MOEGRAD_ROUTES(float)
MOEGRAD_ROUTES(double)
MOEGRAD_ROUTES(bf16)
MOEGRAD_ROUTES(i32)
MOEGRAD_ROUTES(i64)
template void route_dots(const float*, const float*, float*, const RouteLoop&);
template void route_dots(const double*, const double*, double*, const RouteLoop&);
template void route_dots(const bf16*, const bf16*, bf16*, const RouteLoop&);

}  // namespace moegrad::cuda

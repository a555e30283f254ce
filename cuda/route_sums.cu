// Sums of rows that meet at one destination, for runs of any length: one row in each run, or all rows in one.
//
//   1  The sorted rows are cut into tiles of equal size, of which each is added up by the lanes of a warp (one part of
//      the features each, cuda/routes.cuh). A run that lies within a tile is finished. Of one that does not, the tile
//      where it begins keeps its `tail`, each later one its `head`.
//   2  A block for each destination adds up tail and heads, teams of threads taking every so many of them, and the teams'
//      sums as a tree. Destinations that no row reaches become zeros.
//
// The order of all sums is given by the sizes alone: the same bits every run. Moved: the rows once, and at most 2 / 16
// of them once more.
#include "cuda/reduce.cuh"
#include "cuda/routes.cuh"

namespace moegrad::cuda {
namespace {

i64 tile_rows(i64 rows) {  // few enough tiles for step 2, enough for all of the device
  i64 size = 16;
  while (size < 4096 && rows / size > 2048) size *= 2;
  return size;
}

template <class C> struct Partial {
  C *tail, *head;  // [tiles, features]
};

// The route of the row in one place.
struct Step {
  i64 x, y, scale;
  bool full;
  __device__ static Step at(const RouteLoop& loop, const RouteRuns& runs, i64 place) {
    RoutePlace p;
    p.go(loop, runs.order ? runs.order[place] : place, 0, loop.axes);
    const bool full = p.follow(loop);
    return {p.x, p.y, p.scale, full};
  }
};

template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    tile_sums_kernel(const F* x, const F* scale, F* y, RouteLoop loop, RouteRuns runs, Partial<Computed<F>> partial,
                     i64 tile, i64 tiles, RouteSplit s) {
  const i64 places = runs.first(runs.destinations), stride = grid_stride() / s.lanes;
  for (i64 item = first_index() / s.lanes; item < tiles * s.parts; item += stride) {
    const i64 t = item / s.parts, begin = t * tile, end = begin + tile < places ? begin + tile : places;
    if (begin >= end) continue;
    const RoutePart part(s, item % s.parts);
    RouteSum<F, V> sum;
    Step next = Step::at(loop, runs, begin);
    bool from_before = begin > 0 && Step::at(loop, runs, begin - 1).y == next.y;
    for (i64 place = begin; place < end; ++place) {
      const Step now = next;
      if (place + 1 < places) next = Step::at(loop, runs, place + 1);  // on its way while this row is read
      if (now.full) sum.add(x + now.x, loop.x_feature, weight_at(scale, now.scale), part);
      const bool goes_on = place + 1 < places && next.y == now.y;
      if (goes_on && place + 1 < end) continue;
      if (from_before)
        sum.store(partial.head + t * loop.features, part);
      else if (goes_on)
        sum.store(partial.tail + t * loop.features, part);
      else
        sum.store(y + now.y, part);
      sum.clear();
      from_before = false;
    }
  }
}

template <class C, int V> struct AddPacks {
  __device__ Pack<C, V> operator()(Pack<C, V> a, const Pack<C, V>& b) const {
    for (int v = 0; v < V; ++v) a.element[v] = formula::Add{}(a.element[v], b.element[v]);
    return a;
  }
};

// Part of the features of one destination, in step 2: V features for each lane, `lanes` of them, the other threads of
// the block in teams.
template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    join_tiles_kernel(F* y, RouteRuns runs, Partial<Computed<F>> partial, i64 tile, i64 features, RouteSplit s) {
  using P = Pack<Computed<F>, V>;
  __shared__ P room[kBlock];
  const AddPacks<Computed<F>, V> plus;
  const int team = threadIdx.x / s.lanes, teams = blockDim.x / s.lanes;
  for (i64 item = blockIdx.x; item < runs.destinations * s.parts; item += gridDim.x) {
    const i64 d = item / s.parts, pack = item % s.parts * s.lanes + threadIdx.x % s.lanes;
    const i64 begin = runs.first(d), end = runs.first(d + 1), first = begin / tile, last = (end - 1) / tile;
    if (begin < end && first == last) continue;
    P sum{};
    if (begin < end && pack < s.packs) {
      if (team == 0) sum = reinterpret_cast<const P*>(partial.tail + first * features)[pack];
      for (i64 t = first + 1 + team; t <= last; t += teams)
        sum = plus(sum, reinterpret_cast<const P*>(partial.head + t * features)[pack]);
    }
    room[threadIdx.x] = sum;
    for (int half = teams / 2; half > 0; half /= 2) {
      __syncthreads();
      if (team < half) room[threadIdx.x] = plus(room[threadIdx.x], room[threadIdx.x + half * s.lanes]);
    }
    if (team == 0 && pack < s.packs) {
      Pack<F, V> out;
      for (int v = 0; v < V; ++v) out.element[v] = convert<F>(room[threadIdx.x].element[v]);
      reinterpret_cast<Pack<F, V>*>(y + d * features)[pack] = out;
    }
    __syncthreads();
  }
}

template <class F, int V>
void sum_in_packs(const F* x, const F* scale, F* y, const RouteLoop& loop, const RouteRuns& runs) {
  using C = Computed<F>;
  const i64 rows = rows_of(loop, 0, loop.axes), tile = tile_rows(rows), tiles = (rows + tile - 1) / tile;
  const i64 kept = tiles > 1 ? tiles * loop.features : 0;
  const Scratch<C> tail(kept), head(kept);
  const Partial<C> partial{tail.data(), head.data()};
  const RouteSplit s(loop.features, V, kHeld);
  const Grid g = grid_for(tiles * s.parts * s.lanes);
  launch("route_sums", g.blocks, g.threads, 0, tile_sums_kernel<F, V>, x, scale, y, loop, runs, partial, tile, tiles,
         s);
  constexpr int kJoin = V == 1 ? 1 : static_cast<int>(16 / sizeof(C));
  const RouteSplit join(loop.features, kJoin, 1);
  int threads = kWarp;
  while (threads < kBlock && threads < join.lanes * tiles) threads *= 2;
  launch("route_sums", blocks_for(runs.destinations * join.parts), static_cast<unsigned>(threads), 0,
         join_tiles_kernel<F, kJoin>, y, runs, partial, tile, loop.features, join);
}

}  // namespace

template <class F> void sum_route_runs(const F* x, const F* scale, F* y, const RouteLoop& loop, const RouteRuns& runs) {
  constexpr int V = static_cast<int>(16 / sizeof(F));
  // y and the partial sums are rows one behind the other, at places that are aligned if x's features fill packs
  const bool packs =
      route_packs(x, loop, loop.x, loop.x_class, loop.x_feature) && reinterpret_cast<std::uintptr_t>(y) % 16 == 0;
  if (packs)
    sum_in_packs<F, V>(x, scale, y, loop, runs);
  else
    sum_in_packs<F, 1>(x, scale, y, loop, runs);
}

#define MOEGRAD_ROUTE_SUMS(F) template void sum_route_runs(const F*, const F*, F*, const RouteLoop&, const RouteRuns&);
MOEGRAD_ROUTE_SUMS(float)
MOEGRAD_ROUTE_SUMS(double)
MOEGRAD_ROUTE_SUMS(bf16)
MOEGRAD_ROUTE_SUMS(i32)
MOEGRAD_ROUTE_SUMS(i64)

}  // namespace moegrad::cuda

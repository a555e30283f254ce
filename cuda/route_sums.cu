// Sums of rows that meet at one destination, for runs of any length: one row in each run, or all rows in one.
//
//   1  y becomes zeros, which is what a destination that no row reaches keeps.
//   2  The sorted rows are cut into tiles of equal size, of which each is added up by the lanes of a warp (one part of
//      the features each, cuda/routes.cuh). A run that lies within a tile is finished. Of one that does not, the tile
//      where it begins keeps its `tail`, each later one its `head`.
//   3  A block for each tile in which a run begins that goes on behind it adds up the run's tail and heads, teams of
//      threads taking every so many of them, and the teams' sums as a tree.
//
// The order of all sums is given by the sizes alone: the same bits every run. Moved: y and the rows once, and at most
// 2 / 16 of the rows once more.
#include <algorithm>

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

// The run that begins in a tile and goes on behind it: its destination and the last tile that it reaches.
struct LongRun {
  i64 destination = 0, last = -1;  // no tile: there is none

  __device__ LongRun(const RouteLoop& loop, const RouteRuns& runs, i64 t, i64 tile) {
    if ((t + 1) * tile >= runs.first(runs.destinations)) return;
    destination = Step::at(loop, runs, (t + 1) * tile - 1).y / loop.features;
    if (runs.first(destination) >= t * tile) last = (runs.first(destination + 1) - 1) / tile;
  }
};

// Part of the features of one long run, in step 3: V features for each lane, `lanes` of them, the other threads of the
// block in teams.
template <class F, int V>
__global__ void __launch_bounds__(kBlock)
    join_tiles_kernel(F* y, RouteLoop loop, RouteRuns runs, Partial<Computed<F>> partial, i64 tile, i64 tiles,
                      RouteSplit s) {
  using P = Pack<Computed<F>, V>;
  __shared__ P room[kBlock];
  const AddPacks<Computed<F>, V> plus;
  const int team = threadIdx.x / s.lanes, teams = blockDim.x / s.lanes;
  for (i64 item = blockIdx.x; item < tiles * s.parts; item += gridDim.x) {
    const i64 first = item / s.parts, pack = item % s.parts * s.lanes + threadIdx.x % s.lanes;
    const LongRun run(loop, runs, first, tile);
    if (run.last <= first) continue;
    P sum{};
    if (pack < s.packs) {
      if (team == 0) sum = reinterpret_cast<const P*>(partial.tail + first * loop.features)[pack];
      for (i64 t = first + 1 + team; t <= run.last; t += teams)
        sum = plus(sum, reinterpret_cast<const P*>(partial.head + t * loop.features)[pack]);
    }
    room[threadIdx.x] = sum;
    for (int half = teams / 2; half > 0; half /= 2) {
      __syncthreads();
      if (team < half) room[threadIdx.x] = plus(room[threadIdx.x], room[threadIdx.x + half * s.lanes]);
    }
    if (team == 0 && pack < s.packs) {
      Pack<F, V> out;
      for (int v = 0; v < V; ++v) out.element[v] = convert<F>(room[threadIdx.x].element[v]);
      reinterpret_cast<Pack<F, V>*>(y + run.destination * loop.features)[pack] = out;
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
  const i64 bytes = runs.destinations * loop.features * static_cast<i64>(sizeof(F));
  if (bytes > 0) check(cudaMemsetAsync(y, 0, static_cast<std::size_t>(bytes), stream()), "route_sums");
  const RouteSplit s(loop.features, V, kHeld);
  const Grid g = grid_for(tiles * s.parts * s.lanes);
  launch("route_sums", g.blocks, g.threads, 0, tile_sums_kernel<F, V>, x, scale, y, loop, runs, partial, tile, tiles,
         s);
  if (tiles <= 1) return;
  constexpr int kJoin = V == 1 ? 1 : static_cast<int>(16 / sizeof(C));
  const RouteSplit join(loop.features, kJoin, 1);
  const i64 likely = tiles / std::max<i64>(runs.destinations, 1) + 2;  // tiles that a run of the mean length reaches
  int threads = kWarp;
  while (threads < kBlock && threads < join.lanes * likely) threads *= 2;
  launch("route_sums", blocks_for(tiles * join.parts), static_cast<unsigned>(threads), 0, join_tiles_kernel<F, kJoin>,
         y, loop, runs, partial, tile, tiles, join);
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

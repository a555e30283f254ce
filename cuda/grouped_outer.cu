// Weight gradients of uneven groups of rows: y[e] = x^T z over the rows of group e.
//
// Where the host may know the borders of the groups (sizes.borders), each group is one call of cuBLAS with its exact
// size. In a capture it may not, so one kernel reads them on the device: a block for each tile of the results of a
// group, which adds up its rows strip by strip (cuda/strips.cuh). The sums are those of "MegaBlocks" (2022),
// arXiv:2211.15841, for groups of any size instead of blocks of 128 rows. bf16 is multiplied on tensor cores
// (cuda/tensor_tile.cuh), f32 and f64 in plain arithmetic (cuda/plain_tile.cuh). Each result is one sum in the order of
// the rows: deterministic.
#include "cuda/cublas.h"
#include "cuda/grouped_borders.h"
#include "cuda/plain_tile.cuh"
#include "cuda/tensor_tile.cuh"

namespace moegrad::cuda {
namespace {

template <class F> using TileOf = std::conditional_t<std::is_same_v<F, bf16>, TensorTile, PlainTile<F>>;

// Tiles of all groups, one group after the other. Within a group, in bands of up to kBand rows of tiles, from column to
// column: blocks that run at a time make about a square of results, and so read little that others do not read too.
struct OuterTiles {
  i64 groups, down, across;  // down and across: tiles of a group

  static constexpr i64 kBand = 16;
  struct Place {
    i64 group, row, column;  // row and column: in tiles
  };
  __host__ __device__ i64 count() const { return groups * down * across; }
  __device__ Place place(i64 number) const {
    const i64 in_group = number % (down * across), first = in_group / (kBand * across) * kBand;
    const i64 in_band = in_group - first * across, height = down - first < kBand ? down - first : kBand;
    return {number / (down * across), first + in_band % height, in_band / height};
  }
};

template <class F> struct OuterProduct {
  const F *x, *z;
  F* y;
  const i64* borders;
  i64 inner, outer;
};

// Shared: the ring of strips, which the results go through on their way out.
template <class Tile, int V, class F>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) outer_kernel(OuterProduct<F> p, OuterTiles tiles) {
  F* ring = dynamic_shared<F>();
  for (i64 tile = blockIdx.x; tile < tiles.count(); tile += gridDim.x) {
    const OuterTiles::Place at = tiles.place(tile);
    const i64 row = at.row * Tile::kDown, column = at.column * Tile::kAcross;
    const i64 begin = p.borders[at.group], rows = p.borders[at.group + 1] - begin;
    const RowsOf<F> x{p.x + begin * p.inner + row, p.inner, rows, p.inner - row};
    const RowsOf<F> z{p.z + begin * p.outer + column, p.outer, rows, p.outer - column};
    const bool adds = Tile::down() < x.columns && Tile::across() < z.columns;
    typename Tile::Sum sum;
    __syncthreads();  // the tile before is out of the ring
    add_strips<Tile, V>(sum, x, z, ring, adds);
    __syncthreads();
    if (adds)
      Tile::template store<V>(sum, p.y + (at.group * p.inner + row) * p.outer + column, p.outer, x.columns, z.columns,
                              ring);
  }
}

template <class F> void outer_by_tiles(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& s) {
  using Tile = TileOf<F>;
  const Scratch<i64> borders(s.groups + 1);
  trusted_borders("grouped_outer", begin, borders.data(), s);
  const OuterProduct<F> p{x, z, y, borders.data(), s.inner, s.outer};
  const OuterTiles tiles{s.groups, ceil_div(s.inner, Tile::kDown), ceil_div(s.outer, Tile::kAcross)};
  const bool packs = in_packs(s.inner, x) && in_packs(s.outer, z, y);
  launch("grouped_outer", blocks_for(tiles.count()), dim3(Tile::kThreads), kRingBytes<Tile>,
         packs ? outer_kernel<Tile, kPack<F>, F> : outer_kernel<Tile, 1, F>, p, tiles);
}

}  // namespace

template <class F> void grouped_outer(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& s) {
  if (s.groups == 0 || s.inner == 0 || s.outer == 0) return;
  if (s.borders == nullptr) return outer_by_tiles(x, z, begin, y, s);
  Gemm gemm{.op = "grouped_outer",
            .m = s.inner,
            .n = s.outer,
            .k = 0,
            .a_stride = s.inner,
            .b_stride = s.outer,
            .a_transposed = true};
  for (i64 e = 0; e < s.groups; ++e) {
    gemm.k = s.borders[e + 1] - s.borders[e];
    gemm_strided(gemm, x + s.borders[e] * s.inner, 0, z + s.borders[e] * s.outer, 0, y + e * s.inner * s.outer,
                 s.inner * s.outer, 1);
  }
}

template void grouped_outer(const float*, const float*, const i64*, float*, const GroupedSizes&);
template void grouped_outer(const double*, const double*, const i64*, double*, const GroupedSizes&);
template void grouped_outer(const bf16*, const bf16*, const i64*, bf16*, const GroupedSizes&);

}  // namespace moegrad::cuda

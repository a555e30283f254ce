// Order, indexing by tensors, triangles and diagonals.
#include <algorithm>

#include "ops/cast.h"
#include "ops/cumsum.h"
#include "ops/diagonal.h"
#include "ops/gather.h"
#include "ops/nonzero.h"
#include "ops/one_hot.h"
#include "ops/pad.h"
#include "ops/reduce.h"
#include "ops/scatter.h"
#include "ops/sort.h"
#include "ops/views.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Ops ordering() {
  const auto sorted = [](Inputs& x, Arguments& a) {
    a.flag("stable", true);  // always stable
    return sort(x[0], a.axis("dim", -1), a.flag("descending", false));
  };
  return {{"argsort", [sorted](Inputs& x, Arguments& a) { return sorted(x, a).indices; }},
          {"sort", sorted},
          {"sort_stable", sorted},
          {"topk", [](Inputs& x, Arguments& a) {
             a.flag("sorted", true);  // always sorted
             return top_k(x[0], a.integer("k"), a.axis("dim", -1), a.flag("largest", true));
           }}};
}

// The inputs first, first + 1, .. before `end`: indices of the leading axes of x[0], in which -1 is the last position.
std::vector<Tensor> positions_of(Inputs& x, int first, int end) {
  std::vector<Tensor> indices;
  for (int i = first; i < end; ++i) indices.push_back(wrap_index(x[i], x[0].dim(i - first)));
  return indices;
}
Outputs read_positions(Inputs& x, Arguments&) { return index_at(x[0], positions_of(x, 1, x.count())); }
Op put_positions(bool accumulate) {
  return [accumulate](Inputs& x, Arguments& a) {
    const IndexPutOptions options{.accumulate = a.flag("accumulate", accumulate)};
    return index_put(x[0], positions_of(x, 1, x.count() - 1), x[x.count() - 1], options);
  };
}

Ops reading() {
  return {{"cumsum_one_hot_position",
           [](Inputs& x, Arguments& a) {
             const Tensor mine = cast(one_hot(x[0], a.integer("num_classes")), DType::i64);
             return cumsum(mine, -2) * mine - 1;
           }},
          {"embedding",
           [](Inputs& x, Arguments& a) {
             EmbeddingOptions options;
             if (a.has("padding_idx")) options.padding = a.integer("padding_idx");
             if (options.padding && *options.padding < 0) *options.padding += x[1].dim(0);
             return embedding(x[1], x[0], options);
           }},
          {"gather", [](Inputs& x, Arguments& a) { return gather(x[0], a.axis(), x[1]); }},
          {"index_pairs", read_positions},
          {"index_rows", read_positions},
          {"index_select", [](Inputs& x, Arguments& a) { return index_select(x[0], a.axis(), x[1]); }},
          {"masked_select", of_two(masked_select)},
          {"nonzero", of_one(nonzero)},
          {"one_hot",
           [](Inputs& x, Arguments& a) {
             const i64 classes = a.integer("num_classes", -1);  // -1: as many as there are
             return one_hot(x[0], classes < 0 ? static_cast<i64>(amax(x[0]).item()) + 1 : classes);
           }},
          {"take_along_dim", [](Inputs& x, Arguments& a) {
             const std::optional<Axes> axis = a.axes();  // none: of the flattened tensors
             return axis ? take_along(x[0], (*axis)[0], x[1]) : take_along(flatten(x[0]), 0, flatten(x[1]));
           }}};
}

Ops writing() {
  return {{"index_add",
           [](Inputs& x, Arguments& a) {
             const double alpha = a.number("alpha", 1);
             return index_add(x[0], a.axis(), x[1], alpha == 1 ? x[2] : x[2] * alpha);
           }},
          {"index_put", put_positions(false)},
          {"index_put_accumulate", put_positions(true)},
          {"scatter", [](Inputs& x, Arguments& a) { return scatter(x[0], a.axis(), x[1], x[2]); }},
          {"scatter_add", [](Inputs& x, Arguments& a) { return scatter_add(x[0], a.axis(), x[1], x[2]); }},
          {"scatter_value", [](Inputs& x, Arguments& a) { return scatter(x[0], a.axis(), x[1], a.number("value")); }}};
}

Ops triangles() {
  return {{"diag_embed",
           [](Inputs& x, Arguments& a) {
             return diag_embed(x[0], a.integer("offset", 0), a.axis("dim1", -2), a.axis("dim2", -1));
           }},
          {"diagonal",  // the file has the diagonal as the last axis
           [](Inputs& x, Arguments& a) {
             const int p = a.axis("dim1", 0), q = a.axis("dim2", 1), rank = x[0].rank();
             const int place = std::min(p < 0 ? p + rank : p, q < 0 ? q + rank : q);
             return move_axis(diagonal(x[0], p, q, a.integer("offset", 0)), place, -1);
           }},
          {"tril", [](Inputs& x, Arguments& a) { return tril(x[0], a.integer("diagonal", 0)); }},
          {"triu", [](Inputs& x, Arguments& a) { return triu(x[0], a.integer("diagonal", 0)); }}};
}

}  // namespace

Ops index_ops() {
  Ops all = ordering();
  for (Ops part : {reading(), writing(), triangles()}) all.merge(part);
  return all;
}

}  // namespace moegrad::golden

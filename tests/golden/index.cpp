// Order, indexing by tensors, triangles and diagonals.
#include "ops/gather.h"
#include "ops/one_hot.h"
#include "ops/pad.h"
#include "ops/sort.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {

Ops index_ops() {
  return {{"argsort",
           [](Inputs& x, Arguments& a) { return argsort(x[0], a.axis("dim", -1), a.flag("descending", false)); }},
          {"gather", [](Inputs& x, Arguments& a) { return take_along(x[0], a.axis(), x[1]); }},
          {"index_rows", [](Inputs& x, Arguments&) { return index_select(x[0], 0, x[1]); }},
          {"index_select", [](Inputs& x, Arguments& a) { return index_select(x[0], a.axis(), x[1]); }},
          {"one_hot", [](Inputs& x, Arguments& a) { return one_hot(x[0], a.integer("num_classes")); }},
          {"scatter_add", [](Inputs& x, Arguments& a) { return scatter_add(x[0], a.axis(), x[1], x[2]); }},
          {"sort",
           [](Inputs& x, Arguments& a) {
             a.flag("stable", true);  // always stable
             return sort(x[0], a.axis("dim", -1), a.flag("descending", false));
           }},
          {"sort_stable",
           [](Inputs& x, Arguments& a) { return sort(x[0], a.axis("dim", -1), a.flag("descending", false)); }},
          {"topk",
           [](Inputs& x, Arguments& a) {
             a.flag("sorted", true);  // always sorted
             return top_k(x[0], a.integer("k"), a.axis("dim", -1), a.flag("largest", true));
           }},
          {"tril", [](Inputs& x, Arguments& a) { return tril(x[0], a.integer("diagonal", 0)); }},
          {"triu", [](Inputs& x, Arguments& a) { return triu(x[0], a.integer("diagonal", 0)); }}};
}

}  // namespace moegrad::golden

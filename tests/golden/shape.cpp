// Concatenation, splitting, padding, permutations, slices, repeats.
#include "ops/concat.h"
#include "ops/pad.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

std::vector<Padding> paddings_of(Arguments& a) {
  const std::vector<i64> list = a.integers("pad");
  if (list.size() % 2 != 0) throw CaseError("pad must hold pairs");
  std::vector<Padding> paddings;  // the file begins with the last axis, moegrad with the first that is padded
  for (std::size_t i = list.size(); i > 0; i -= 2) paddings.push_back({list[i - 2], list[i - 1]});
  return paddings;
}

Ops joins() {
  return {{"cat", [](Inputs& x, Arguments& a) { return concat(x.all(), a.axis("dim", 0)); }},
          {"pad",
           [](Inputs& x, Arguments& a) {
             if (a.text("mode", "constant") != "constant") throw CaseError("pad: unknown mode");
             return pad(x[0], paddings_of(a), a.number("value", 0));
           }},
          {"split_sizes", [](Inputs& x, Arguments& a) { return split(x[0], a.integers("sizes"), a.axis("dim", 0)); }},
          {"stack", [](Inputs& x, Arguments& a) { return stack(x.all(), a.axis("dim", 0)); }}};
}

Ops views() {
  return {
      {"flatten", [](Inputs& x, Arguments& a) { return flatten(x[0], a.axis("start", 0), a.axis("end", -1)); }},
      {"narrow",
       [](Inputs& x, Arguments& a) {
         const int axis = a.axis();
         const i64 start = a.integer("start"), begin = start < 0 ? start + x[0].dim(axis) : start;
         return slice(x[0], axis, {begin, begin + a.integer("length")});
       }},
      {"permute", [](Inputs& x, Arguments& a) { return permute(x[0], a.axes("dims").value_or(Axes{})); }},
      {"permute_reshape",
       [](Inputs& x, Arguments& a) {
         return reshape(permute(x[0], a.axes("dims").value_or(Axes{})), a.shape("shape"));
       }},
      {"reshape", [](Inputs& x, Arguments& a) { return reshape(x[0], a.shape("shape")); }},
      {"slice",
       [](Inputs& x, Arguments& a) {
         return slice(x[0], a.axis("dim", 0), {a.integer("start", 0), a.integer("stop", kEnd), a.integer("step", 1)});
       }},
      {"squeeze", [](Inputs& x, Arguments& a) { return squeeze(x[0], a.axis()); }},
      {"transpose", [](Inputs& x, Arguments& a) { return swap_axes(x[0], a.axis("dim0"), a.axis("dim1")); }},
      {"unsqueeze", [](Inputs& x, Arguments& a) { return unsqueeze(x[0], a.axis()); }}};
}

}  // namespace

Ops shape_ops() {
  Ops all = joins();
  all.merge(views());
  return all;
}

}  // namespace moegrad::golden

// Concatenation, splitting, padding, permutations, slices, repeats.
#include "ops/concat.h"
#include "ops/pad.h"
#include "ops/slice.h"
#include "ops/tile.h"
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

// The axes that an argument of one or the other name lists; none where it is null or absent.
Axes axes_named(Arguments& a, const std::string& key, const std::string& other) {
  const std::optional<Axes> axes = a.axes(key);
  return axes ? *axes : a.axes(other).value_or(Axes{});
}

Op pad_with(const std::string& usual) {
  return [usual](Inputs& x, Arguments& a) {
    const std::string mode = a.text("mode", usual);
    const std::vector<Padding> paddings = paddings_of(a);
    if (mode == "constant") return pad(x[0], paddings, a.number("value", 0));
    if (mode == "reflect") return pad(x[0], paddings, PadMode::reflect);
    if (mode == "replicate") return pad(x[0], paddings, PadMode::replicate);
    if (mode == "circular") return pad(x[0], paddings, PadMode::circular);
    throw CaseError("pad: unknown mode");
  };
}

Ops joins() {
  return {{"cat", [](Inputs& x, Arguments& a) { return concat(x.all(), a.axis("dim", 0)); }},
          {"chunk", [](Inputs& x, Arguments& a) { return chunk(x[0], a.integer("chunks"), a.axis("dim", 0)); }},
          {"pad", pad_with("constant")},
          {"pad_circular", pad_with("circular")},
          {"pad_constant", pad_with("constant")},
          {"pad_reflect", pad_with("reflect")},
          {"pad_replicate", pad_with("replicate")},
          {"split", [](Inputs& x, Arguments& a) { return split_every(x[0], a.integer("size"), a.axis("dim", 0)); }},
          {"split_sizes", [](Inputs& x, Arguments& a) { return split(x[0], a.integers("sizes"), a.axis("dim", 0)); }},
          {"stack", [](Inputs& x, Arguments& a) { return stack(x.all(), a.axis("dim", 0)); }},
          {"unbind", [](Inputs& x, Arguments& a) { return unbind(x[0], a.axis("dim", 0)); }}};
}

Ops repeats() {
  return {{"expand", [](Inputs& x, Arguments& a) { return expand(x[0], a.shape("shape")); }},
          {"flip", [](Inputs& x, Arguments& a) { return flip(x[0], axes_named(a, "dims", "dim")); }},
          {"meshgrid",
           [](Inputs& x, Arguments& a) {
             const std::string indexing = a.text("indexing", "ij");
             if (indexing != "ij" && indexing != "xy") throw CaseError("meshgrid: unknown indexing");
             return meshgrid(x.all(), indexing == "xy");
           }},
          {"repeat", [](Inputs& x, Arguments& a) { return tile(x[0], a.shape("repeats")); }},
          {"repeat_interleave",
           [](Inputs& x, Arguments& a) {
             const std::optional<Axes> axis = a.axes();  // none: of the flattened tensor
             const std::vector<i64> times = a.integers("repeats", {});
             const Tensor counts = x.count() > 1       ? x[1]
                                   : times.size() == 1 ? scalar(static_cast<double>(times[0]), DType::i64)
                                                       : from_vector(times, {static_cast<i64>(times.size())});
             return axis ? repeat_interleave(x[0], counts, (*axis)[0]) : repeat_interleave(x[0], counts);
           }},
          {"roll",
           [](Inputs& x, Arguments& a) {
             const std::vector<i64> shifts = a.integers(a.has("shifts") ? "shifts" : "shift");
             const Axes axes = axes_named(a, "dims", "dim");
             return axes.empty() && shifts.size() == 1 ? roll(x[0], shifts[0]) : roll(x[0], shifts, axes);
           }},
          {"tile", [](Inputs& x, Arguments& a) { return tile(x[0], a.shape("dims")); }}};
}

Ops views() {
  return {
      {"flatten", [](Inputs& x, Arguments& a) { return flatten(x[0], a.axis("start", 0), a.axis("end", -1)); }},
      {"movedim",
       [](Inputs& x, Arguments& a) {
         return move_axis(x[0], a.axes("source").value_or(Axes{}), a.axes("destination").value_or(Axes{}));
       }},
      {"narrow",
       [](Inputs& x, Arguments& a) { return segment(x[0], a.axis(), a.integer("start"), a.integer("length")); }},
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
      {"squeeze",
       [](Inputs& x, Arguments& a) {
         const std::optional<Axes> axis = a.axes();  // none: every axis of size 1
         if (!axis) return squeeze(x[0]);
         return x[0].dim((*axis)[0]) == 1 ? squeeze(x[0], (*axis)[0]) : x[0];
       }},
      {"transpose", [](Inputs& x, Arguments& a) { return swap_axes(x[0], a.axis("dim0"), a.axis("dim1")); }},
      {"unsqueeze", [](Inputs& x, Arguments& a) { return unsqueeze(x[0], a.axis()); }}};
}

}  // namespace

Ops shape_ops() {
  Ops all = joins();
  all.merge(repeats());
  all.merge(views());
  return all;
}

}  // namespace moegrad::golden

// Calls with a pattern: rearrange, reduce, repeat, pack, unpack.
#include "core/shape.h"
#include "ops/concat.h"
#include "ops/einops.h"
#include "ops/pack.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

// What rearrange, reduce and repeat have in common. Several inputs are one, stacked along a new first axis.
template <class Fn> Op with_sizes(Fn call) {
  return [call](Inputs& x, Arguments& a) -> Outputs {
    const auto named = a.sizes("sizes");
    std::vector<AxisSize> sizes;
    for (const auto& [name, size] : named) sizes.push_back({name, size});
    return {call(x.count() > 1 ? stack(x.all(), 0) : x[0], a, std::span<const AxisSize>(sizes))};
  };
}

Outputs pack_all(Inputs& x, Arguments& a) {
  const Packed packed = pack(x.all(), a.text("pattern"));
  if (a.has("shapes") && packed.shapes != a.shapes("shapes")) throw CaseError("pack gives other shapes than 'shapes'");
  return {packed.y};
}

}  // namespace

Ops pattern_ops() {
  return {{"rearrange", with_sizes([](const Tensor& x, Arguments& a, auto sizes) {
             return rearrange(x, a.text("pattern"), sizes);
           })},
          {"reduce", with_sizes([](const Tensor& x, Arguments& a, auto sizes) {
             return reduce(x, a.text("pattern"), a.text("reduction"), sizes);
           })},
          {"repeat",
           with_sizes([](const Tensor& x, Arguments& a, auto sizes) { return repeat(x, a.text("pattern"), sizes); })},
          {"pack", pack_all},
          {"unpack", [](Inputs& x, Arguments& a) { return unpack(x[0], a.shapes("shapes"), a.text("pattern")); }}};
}

}  // namespace moegrad::golden

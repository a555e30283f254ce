// Experts of any kind: a list of layers, groups of batched experts beside each other, and experts without weights.
#pragma once
#include <memory>
#include <vector>

#include "nn/moe/experts.h"

namespace moegrad {

/// Expert e is layer e, called with its own slots [G, C, D] (dropless: [1, its rows, D], possibly none). Layers may
/// be of different kinds, but their outputs must have one width. A slot may also be more than a vector, [G, C, ..]: an
/// image, if whole images are routed.
///   Mask      of the context of a layer: its slots in use, bool [G, C], where a capacity may leave some empty. Mixtures
///             as experts then count tokens alone. Slots of images have none
///   State     names of layer e begin with "e."
///   Gradient  an expert without slots gets zeros
///   Cost      one call per expert; alike experts are faster as LinearExperts or FeedForwardExperts. Dropless slots:
///             synchronises (reads E counts)
///   Errors    Error: no layer, or an empty handle.  ShapeError: another number of experts than the routing's; a
///             layer that does not keep its rows
struct ModuleExperts : Experts {
  explicit ModuleExperts(std::vector<std::unique_ptr<Layer>> layers);
  Tensor forward(const Tensor& slots, const Routing& routing, Context& context) const override;
  void members(Members& m) override;

  std::vector<std::unique_ptr<Layer>> layers;
};

/// Groups of experts side by side: the first group has the first experts, and so on.
///   ExpertGroups({{8, feed_forward}, {1, identity}}): experts 0 .. 7 are a batch, expert 8 copies its slots
///   State     names of group i begin with "groups.i."
///   Errors    as ModuleExperts; Error: a group without experts
struct ExpertGroups : Experts {
  struct Group {
    i64 experts;
    std::unique_ptr<Experts> members;
  };
  explicit ExpertGroups(std::vector<Group> groups);
  Tensor forward(const Tensor& slots, const Routing& routing, Context& context) const override;
  void members(Members& m) override;

  std::vector<Group> groups;
};

/// A module whose forward needs no context, as a layer: AsLayer<Linear>(8, 8, init).   State  the module's names
template <class M> struct AsLayer : Layer {
  template <class... Arguments>
  explicit AsLayer(Arguments&&... arguments) : module(std::forward<Arguments>(arguments)...) {}
  Tensor forward(const Tensor& x, Context&) const override { return module.forward(x); }
  void members(Members& m) override { m.child("", module); }

  M module;
};

/// y = 0: tokens sent to a hole get nothing (the drop expert of moefy, the zero expert of MoE++).
///   Source  MoE++ (2024), arXiv:2410.07348, equation 4
struct Hole : Layer {
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members&) override {}
};

/// y = x: the copy expert of MoE++.   Source  arXiv:2410.07348, equation 5
struct Identity : Layer {
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members&) override {}
};

/// y = a_0 x + a_1 v with a = softmax(w x): a learned vector mixed with the token, the constant expert of MoE++.
///   Shapes  x [.., D], weight [2, D], value [D]
///   Source  arXiv:2410.07348, equation 6
struct Constant : Layer {
  Constant(i64 width, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Tensor weight, value;
};

}  // namespace moegrad

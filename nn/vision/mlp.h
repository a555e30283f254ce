// The feed-forward layer of vision transformers, alone and as a batch of experts.
#pragma once
#include "nn/feed_forward.h"
#include "nn/moe/experts.h"

namespace moegrad {

/// y = fc2(a(fc1(x))), with dropout after each in training.
///   Shapes   x [.., D] -> y [.., D'].  fc1.weight [F, D], fc2.weight [D', F]
///   Source   An image is worth 16x16 words (2020), arXiv:2010.11929, section 3.1; Mlp of timm, whose names it has
///   Errors   Error: a gated activation, a width < 0, a dropout outside [0, 1)
struct Mlp : Layer {
  struct Options {
    i64 hidden = 0;  ///< F; 0: D
    i64 out = 0;     ///< D'; 0: D
    Activation activation = Activation::gelu;
    bool bias = true;
    double dropout = 0;
  };
  Mlp(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear fc1, fc2;
  Dropout dropout;
};

/// `experts` layers Mlp as a batch, under the names "0.fc1.weight", ..   Errors  as Mlp and FeedForwardExperts
std::unique_ptr<Experts> mlp_experts(i64 experts, i64 width, const Mlp::Options& options, Init& init);

}  // namespace moegrad

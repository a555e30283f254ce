// A decoder-only transformer.
#pragma once
#include <functional>
#include <span>

#include "nn/block.h"
#include "nn/embedding.h"

namespace moegrad {

/// logits = head(norm(blocks(token_embedding[tokens] + position_embedding))).
///   Shapes   tokens [B, S] i32 or i64, S <= context -> logits [B, S, V]
///   Initial  embeddings normal with deviation 0.02; the output projections of attention (and of feed-forward layers,
///            through the gain that `make_feed_forward` is given) smaller by 1/sqrt(2 layers), so that the sum over all
///            residual branches has the size of one
///   Source   Language models are unsupervised multitask learners (GPT-2, 2019), section 2.3
///   Errors   ShapeError: tokens are not [B, S] with S <= context.  IndexError: a token outside [0, V)
struct LanguageModel : Module {
  struct Options {
    i64 vocabulary = 0, context = 32, width = 128, layers = 4, heads = 4;
    double dropout = 0;
    bool recompute = false;  ///< of each block, keep the input alone for backward (nn/recompute.h)
  };
  /// Makes the feed-forward layer of block i, for the given gain of its output weights.
  using MakeFeedForward = std::function<std::unique_ptr<Layer>(i64 i, double output_gain, Init& init)>;

  LanguageModel(Options options, const MakeFeedForward& make_feed_forward, Init& init);
  Tensor forward(const Tensor& tokens, Context& context) const;
  void members(Members& m) override;

  Options options;
  Embedding token_embedding, position_embedding;
  Dropout dropout;
  std::vector<std::unique_ptr<Block>> blocks;
  LayerNorm norm;
  Linear head;
};

/// `count` further tokens, each drawn from the model's distribution at the given temperature (0: the likeliest) and fed
/// back. The prompt has at least one token.
///   Errors  Error: an empty prompt, a count or a temperature below 0
std::vector<i32> generate(const LanguageModel& model, std::span<const i32> prompt, i64 count, double temperature,
                          Random& random);

}  // namespace moegrad

#include "nn/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "nn/recompute.h"
#include "ops/arithmetic.h"
#include "ops/random.h"
#include "ops/slice.h"

namespace moegrad {
namespace {

double residual_gain(i64 layers) { return 1 / std::sqrt(2.0 * static_cast<double>(std::max<i64>(layers, 1))); }

}  // namespace

LanguageModel::LanguageModel(Options o, const MakeFeedForward& make_feed_forward, Init& init)
    : options(o),
      token_embedding(o.vocabulary, o.width, init, 0.02),
      position_embedding(o.context, o.width, init, 0.02),
      dropout(o.dropout),
      norm(o.width, init),
      head(o.width, o.vocabulary, init) {
  const double gain = residual_gain(o.layers);
  for (i64 i = 0; i < o.layers; ++i)
    blocks.push_back(std::make_unique<Block>(
        o.width, SelfAttention::Options{.heads = o.heads, .dropout = o.dropout, .output_gain = gain},
        make_feed_forward(i, gain, init), init));
}

Tensor LanguageModel::forward(const Tensor& tokens, Context& context) const {
  if (tokens.rank() != 2 || tokens.dim(1) > options.context)
    throw ShapeError(fmt::format("language model: tokens must be [B, S] with S <= {}; got tokens {}", options.context,
                                 to_string(tokens.shape())));
  const Tensor positions = slice(position_embedding.weight, 0, {0, tokens.dim(1)});  // [S, D]
  Tensor x = dropout.forward(token_embedding.forward(tokens) + positions, context);  // [B, S, D]
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Inside here(context, "blocks", static_cast<i64>(i));
    const auto block = [&layer = *blocks[i]](const Tensor& in, Context& c) { return layer.forward(in, c); };
    x = options.recompute ? checkpoint(block, x, context) : block(x, context);
  }
  return head.forward(norm.forward(x));  // [B, S, V]
}

void LanguageModel::members(Members& m) {
  m.child("token_embedding", token_embedding);
  m.child("position_embedding", position_embedding);
  m.children("blocks", blocks);
  m.child("norm", norm);
  m.child("head", head);
}

namespace {

// The token whose share of the distribution holds the number u of [0, 1).
i32 sample(const std::vector<double>& logits, double temperature, double u) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (temperature == 0) return static_cast<i32>(best - logits.begin());
  std::vector<double> weight;
  double total = 0;
  for (const double l : logits) total += weight.emplace_back(std::exp((l - *best) / temperature));
  double left = u * total;
  for (std::size_t i = 0; i < weight.size(); ++i)
    if ((left -= weight[i]) < 0) return static_cast<i32>(i);
  return static_cast<i32>(best - logits.begin());  // rounding
}

}  // namespace

std::vector<i32> generate(const LanguageModel& model, std::span<const i32> prompt, i64 count, double temperature,
                          Random& random) {
  if (prompt.empty()) throw Error("generate: the prompt must have a token; got none");
  if (count < 0) throw Error(fmt::format("generate: count must be at least 0; got {}", count));
  if (!(temperature >= 0)) throw Error(fmt::format("generate: temperature must be at least 0; got {}", temperature));
  no_grad guard;
  std::vector<i32> tokens(prompt.begin(), prompt.end());
  const std::vector<double> draws = random_uniform({count}, 0, 1, random.next(), DType::f64).to_vector<double>();
  for (const double u : draws) {
    const i64 seen = std::min<i64>(static_cast<i64>(tokens.size()), model.options.context);
    Context context{.random = &random};  // for layers that draw in evaluation, too
    const Tensor logits = model.forward(from_vector(std::span<const i32>(tokens).last(static_cast<std::size_t>(seen)),
                                                    {1, seen}, DType::i32, model.token_embedding.weight.device()),
                                        context);
    tokens.push_back(sample(logits[0][-1].to_vector<double>(), temperature, u));
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<i64>(prompt.size()));
  return tokens;
}

}  // namespace moegrad

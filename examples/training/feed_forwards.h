// Every feed-forward layer that the library has, in one table: what `--ffn` chooses from.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <span>
#include <string>

#include "nn/checkpoint.h"
#include "nn/init.h"
#include "nn/module.h"

namespace examples {

using namespace moegrad;

/// What a user says about the feed-forward layers of a model.
struct FeedForwardSettings {
  std::string ffn = "top_k", activation = "gelu", noise = "own";
  i64 hidden = 0;           ///< of a feed-forward layer; 0: four times the width
  bool same_flops = false;  ///< experts so wide that a token costs as much as in a dense layer of `hidden`
  i64 experts = 8, topk = 2;
  double capacity = 0;  ///< slots of an expert relative to an even share; 0: the layer's own
  i64 slots = 0;        ///< per expert, of soft mixtures; 0: what the capacity says
  double dropout = 0;
};

/// Where the layer will stand.
struct FeedForwardPlace {
  i64 width = 0;
  i64 tokens = 0;          ///< of a row at most: soft mixtures size their slots by it
  double output_gain = 1;  ///< of initial output weights
};

/// One row of the table.
struct FeedForwardKind {
  const char *name, *help;
  /// Whether a token's output depends on tokens behind it in its row.
  bool (*leaks)(const FeedForwardSettings& settings);
  /// Slots that experts process, per token; FLOPs per token are these times those of one expert.
  double (*passes)(const FeedForwardSettings& settings, i64 tokens);
  std::unique_ptr<Layer> (*make)(const FeedForwardSettings& settings, const FeedForwardPlace& place, Init& init);
};

/// All rows, in the order of the help text.
std::span<const FeedForwardKind> feed_forward_kinds();
/// The row of that name; "moe" is another name of top_k.   Errors  Error: there is none; the text lists them
const FeedForwardKind& feed_forward_kind(const std::string& name);

/// The layer that the settings describe, without a residual path: what stands in Block::feed_forward.
///   Hidden   settings.hidden, or with same_flops that divided by the row's `passes`, rounded, at least 1
///   Errors   Error: the layer's own, for options that it cannot have
std::unique_ptr<Layer> make_feed_forward(const FeedForwardSettings& settings, const FeedForwardPlace& place,
                                         Init& init);

/// One line that says why a causal model must not have this layer, and what to use instead; "" where it may.
std::string leak_warning(const FeedForwardSettings& settings);

/// What a checkpoint must have been made with to be continued.
Notes notes_of(const FeedForwardSettings& settings);

/// --ffn, --activation, --hidden, --same-flops, --experts, --topk, --capacity, --slots, --router-noise, --dropout.
void add_feed_forward_options(CLI::App& app, FeedForwardSettings& settings);

}  // namespace examples

#include "examples/training/feed_forwards.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "examples/training/terminal.h"
#include "nn/moegrad.h"

namespace examples {
namespace {

using Settings = FeedForwardSettings;
using Place = FeedForwardPlace;
using Made = std::unique_ptr<Layer>;

// ---- what the rows are made of

double ratio(i64 a, i64 b) { return static_cast<double>(a) / static_cast<double>(std::max<i64>(b, 1)); }

RouterNoise::Options noise_of(const Settings& s, RouterNoiseKind own = RouterNoiseKind::none) {
  if (s.noise == "gumbel") return {.kind = RouterNoiseKind::gumbel};
  if (s.noise == "gaussian") return {.kind = RouterNoiseKind::gaussian};
  if (s.noise == "jitter") return {.kind = RouterNoiseKind::jitter};
  if (s.noise == "simple") return {.kind = RouterNoiseKind::simple};
  return {.kind = s.noise == "none" ? RouterNoiseKind::none : own};
}

Made dense_layer(const Settings& s, const Place& place, Init& init) {
  return std::make_unique<FeedForward>(place.width,
                                       FeedForward::Options{.hidden = s.hidden,
                                                            .activation = activation_by_name(s.activation),
                                                            .dropout = s.dropout,
                                                            .output_gain = place.output_gain},
                                       init);
}

std::unique_ptr<FeedForwardExperts> feed_forward_experts(const Settings& s, const Place& place, i64 active,
                                                         Init& init) {
  return std::make_unique<FeedForwardExperts>(
      place.width,
      FeedForwardExperts::Options{.experts = s.experts,
                                  .hidden = s.hidden,
                                  .activation = activation_by_name(s.activation),
                                  .bias = true,
                                  .output_bias = true,
                                  .output_gain = place.output_gain,
                                  .active = active},
      init);
}

TopKRouter::Options top_k_options(const Settings& s, RouterNoiseKind own_noise) {
  return {.experts = s.experts, .k = s.topk, .capacity = {.factor = s.capacity}, .noise = noise_of(s, own_noise)};
}

std::unique_ptr<MoE> mixture(const Settings& s, const Place& place, std::unique_ptr<Router> router, i64 active,
                             Init& init) {
  return std::make_unique<MoE>(std::move(router), feed_forward_experts(s, place, active, init), s.dropout);
}

std::unique_ptr<MoE> top_k_mixture(const Settings& s, const Place& place, const TopKRouter::Options& router,
                                   Init& init) {
  return mixture(s, place, std::make_unique<TopKRouter>(place.width, router, init), s.topk, init);
}

// ---- tokens choose

Made top_k_layer(const Settings& s, const Place& place, Init& init) {
  return top_k_mixture(s, place, top_k_options(s, RouterNoiseKind::none), init);
}

Made noisy_top_k(const Settings& s, const Place& place, Init& init) {
  TopKRouter::Options router = top_k_options(s, RouterNoiseKind::gaussian);
  router.losses = {.load_balancing = false, .importance = true, .load = true};
  return top_k_mixture(s, place, router, init);
}

Made k_subset(const Settings& s, const Place& place, Init& init) {
  return top_k_mixture(s, place, top_k_options(s, RouterNoiseKind::simple), init);
}

Made with_shared_expert(const Settings& s, const Place& place, Init& init) {
  auto moe = top_k_mixture(s, place, top_k_options(s, RouterNoiseKind::none), init);
  Settings shared = s;
  shared.dropout = 0;  // the mixture has its own behind the sum
  moe->shared = dense_layer(shared, place, init);
  return moe;
}

// Beside the experts that compute: nothing, a copy, and a learned vector.
Made with_zero_experts(const Settings& s, const Place& place, Init& init) {
  TopKRouter::Options options = top_k_options(s, RouterNoiseKind::none);
  options.experts = s.experts + 3;
  auto router = std::make_unique<TopKRouter>(place.width, options, init);
  std::vector<std::unique_ptr<Layer>> free;
  free.push_back(std::make_unique<Hole>());
  free.push_back(std::make_unique<Identity>());
  free.push_back(std::make_unique<Constant>(place.width, init));
  std::vector<ExpertGroups::Group> groups;
  groups.push_back({s.experts, feed_forward_experts(s, place, s.topk, init)});
  groups.push_back({3, std::make_unique<ModuleExperts>(std::move(free))});
  return std::make_unique<MoE>(std::move(router), std::make_unique<ExpertGroups>(std::move(groups)), s.dropout);
}

StMoERouter::Options st_options(const Settings& s) {
  StMoERouter::Options o{.experts = s.experts, .top_n = std::max<i64>(s.topk, 2)};
  if (s.capacity > 0) o.capacity_factor_train = o.capacity_factor_eval = s.capacity;
  return o;
}

Made st_moe(const Settings& s, const Place& place, Init& init) {
  const StMoERouter::Options router = st_options(s);
  auto moe = std::make_unique<StMoE>(place.width, StMoE::Options{.router = router},
                                     feed_forward_experts(s, place, router.top_n, init), init);
  moe->output_dropout = Dropout(s.dropout);
  return moe;
}

Made moe_block(const Settings& s, const Place& place, Init& init) {
  MoEBlock::Options options;
  options.router.experts = s.experts;
  options.router.k = std::min(s.topk, s.experts);
  options.router.noise = noise_of(s, RouterNoiseKind::gaussian);
  if (options.router.noise.kind != RouterNoiseKind::gaussian)
    options.router.auxiliary = BlockRouter::Auxiliary::balance_entropy;
  auto experts = feed_forward_experts(s, place, s.topk, init);
  experts->output_dropout = Dropout(s.dropout);
  return std::make_unique<MoEBlock>(place.width, std::move(experts), options, init);
}

// ---- experts choose

Capacity choice_capacity(const Settings& s) { return {.factor = s.capacity > 0 ? s.capacity : 2}; }

std::unique_ptr<MoE> expert_choice_mixture(const Settings& s, const Place& place, ChoiceGates gates, Init& init) {
  const ExpertChoiceRouter::Options options{
      .experts = s.experts, .capacity = choice_capacity(s), .gates = gates, .noise = noise_of(s)};
  const auto active = static_cast<i64>(std::ceil(std::min(options.capacity.factor, static_cast<double>(s.experts))));
  return mixture(s, place, std::make_unique<ExpertChoiceRouter>(place.width, options, init), active, init);
}

Made expert_choice(const Settings& s, const Place& place, Init& init) {
  return expert_choice_mixture(s, place, ChoiceGates::over_experts, init);
}

Made expert_choice_of_batch(const Settings& s, const Place& place, Init& init) {
  auto moe = expert_choice_mixture(s, place, ChoiceGates::over_picked, init);
  moe->one_group = true;
  return moe;
}

MoDLayer::Options depth_options(const Settings& s) {
  MoDLayer::Options o{.residual = false, .noise = noise_of(s)};  // the block around it adds x
  if (s.capacity > 0) o.capacity.factor = s.capacity;
  return o;
}

Made mixture_of_depths(const Settings& s, const Place& place, Init& init) {
  return std::make_unique<MoDLayer>(place.width, dense_layer(s, place, init), depth_options(s), init);
}

// ---- nobody chooses

i64 soft_slots(const Settings& s, i64 tokens) {
  if (s.slots > 0) return s.slots;
  const double share = ratio(tokens, s.experts) * (s.capacity > 0 ? s.capacity : 1);
  return std::max<i64>(1, std::llround(share));
}

// SoftMoE and DynamicSlotsSoftMoE make experts of their own, with two activations and no gain: these take their place.
template <class L> Made soft_layer(const Settings& s, const Place& place, typename L::Options options, Init& init) {
  options.num_experts = s.experts;
  options.expert_mult = 2 / static_cast<double>(place.width);  // next to no weights
  auto layer = std::make_unique<L>(place.width, options, init);
  layer->experts = feed_forward_experts(s, place, -1, init);
  layer->output_dropout = Dropout(s.dropout);
  return layer;
}

Made soft(const Settings& s, const Place& place, Init& init) {
  return soft_layer<SoftMoE>(s, place, {.num_slots = soft_slots(s, place.tokens)}, init);
}

Made dynamic_soft(const Settings& s, const Place& place, Init& init) {
  return soft_layer<DynamicSlotsSoftMoE>(s, place, {}, init);
}

Made soft_wrapper(const Settings& s, const Place& place, Init& init) {
  const SoftMoEWrapper::Options options{.experts = s.experts, .slots = soft_slots(s, place.tokens)};
  auto layer = std::make_unique<SoftMoEWrapper>(place.width, options, feed_forward_experts(s, place, -1, init), init);
  layer->output_dropout = Dropout(s.dropout);
  return layer;
}

// ---- which see the future

bool never(const Settings&) { return false; }
bool always(const Settings&) { return true; }
// First choices are served before second ones, so those of later tokens may take the slot of an earlier one's second;
// unless there is a slot for every token in every expert.
bool scarce(const Settings& s, i64 experts) {
  return s.capacity > 0 && s.topk > 1 && s.capacity * static_cast<double>(s.topk) < static_cast<double>(experts);
}
bool with_capacity(const Settings& s) { return scarce(s, s.experts); }
bool zero_with_capacity(const Settings& s) { return scarce(s, s.experts + 3); }
bool st_leaks(const Settings& s) { return st_options(s).capacity_factor_train < static_cast<double>(s.experts); }
bool choice_leaks(const Settings& s) { return choice_capacity(s).factor < static_cast<double>(s.experts); }
bool depth_leaks(const Settings& s) { return depth_options(s).capacity.factor < 1; }

// ---- slots per token

double once(const Settings&, i64) { return 1; }
double top_k_passes(const Settings& s, i64) { return static_cast<double>(s.topk) * (s.capacity > 0 ? s.capacity : 1); }
double shared_passes(const Settings& s, i64 tokens) { return 1 + top_k_passes(s, tokens); }
// If all experts are chosen alike, the three that cost nothing among them.
double zero_passes(const Settings& s, i64 tokens) { return top_k_passes(s, tokens) * ratio(s.experts, s.experts + 3); }
double st_passes(const Settings& s, i64) { return st_options(s).capacity_factor_train; }
double block_passes(const Settings& s, i64) { return static_cast<double>(std::min(s.topk, s.experts)); }
double choice_passes(const Settings& s, i64) {
  return std::min(choice_capacity(s).factor, static_cast<double>(s.experts));
}
double depth_passes(const Settings& s, i64) { return std::min(depth_options(s).capacity.factor, 1.0); }
double soft_passes(const Settings& s, i64 tokens) { return ratio(s.experts * soft_slots(s, tokens), tokens); }

constexpr FeedForwardKind kKinds[] = {
    {"dense", "one layer for all tokens", never, once, dense_layer},
    {"top_k", "each token to its k best experts; nothing dropped without --capacity", with_capacity, top_k_passes,
     top_k_layer},
    {"noisy_top_k", "top_k with learned noise, and losses of importance and load", with_capacity, top_k_passes,
     noisy_top_k},
    {"k_subset", "k experts drawn at random, with the gradient of their marginals", with_capacity, top_k_passes,
     k_subset},
    {"shared_expert", "top_k, and one more expert that every token passes", with_capacity, shared_passes,
     with_shared_expert},
    {"zero_experts", "top_k, with a hole, a copy and a constant among the experts", zero_with_capacity, zero_passes,
     with_zero_experts},
    {"moe_block", "the mixture of moefy: all rows one group, noise, nothing dropped", never, block_passes, moe_block},
    {"st_moe", "top_k with a capacity and random second choices (ST-MoE)", st_leaks, st_passes, st_moe},
    {"expert_choice", "each expert takes the tokens of the row that suit it best", choice_leaks, choice_passes,
     expert_choice},
    {"expert_choice_batch", "the same among the tokens of all rows, with gates over the picked", always, choice_passes,
     expert_choice_of_batch},
    {"mod", "mixture of depths: one dense layer, which takes the best tokens only", depth_leaks, depth_passes,
     mixture_of_depths},
    {"soft", "soft mixture: slots are averages of all tokens", always, soft_passes, soft},
    {"soft_wrapper", "the same with slots and tokens of length 1, around any experts", always, soft_passes,
     soft_wrapper},
    {"dynamic_soft", "soft mixture whose slots are made from the sequence", always, once, dynamic_soft},
};

std::string names_with_help() {
  std::string text = "feed-forward layers, one of";
  for (const FeedForwardKind& kind : kKinds) text += fmt::format("\n  {:<20} {}", kind.name, kind.help);
  return text;
}

}  // namespace

std::span<const FeedForwardKind> feed_forward_kinds() { return kKinds; }

const FeedForwardKind& feed_forward_kind(const std::string& name) {
  std::string known;
  for (const FeedForwardKind& kind : kKinds) {
    if (kind.name == (name == "moe" ? "top_k" : name)) return kind;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", kind.name);
  }
  throw Error(fmt::format("ffn: must be one of {}; got {}", known, name));
}

std::unique_ptr<Layer> make_feed_forward(const FeedForwardSettings& settings, const FeedForwardPlace& place,
                                         Init& init) {
  const FeedForwardKind& kind = feed_forward_kind(settings.ffn);
  FeedForwardSettings s = settings;
  if (s.hidden == 0) s.hidden = 4 * place.width;
  if (s.same_flops) {
    const double even = static_cast<double>(s.hidden) / kind.passes(s, place.tokens);
    s.hidden = std::max<i64>(1, std::llround(even));
  }
  return kind.make(s, place, init);
}

std::string leak_warning(const FeedForwardSettings& s) {
  const FeedForwardKind& kind = feed_forward_kind(s.ffn);
  if (!kind.leaks(s)) return "";
  const bool causal_without = kind.leaks == with_capacity || kind.leaks == zero_with_capacity;
  return fmt::format("--ffn {} lets a position see the ones behind it{}: losses look better than they are; {}",
                     kind.name, causal_without ? ", as first choices are served before second ones" : "",
                     causal_without ? "leave out --capacity, or take --topk 1" : "use top_k, or another that does not");
}

Notes notes_of(const FeedForwardSettings& s) {
  return {{"ffn", feed_forward_kind(s.ffn).name},
          {"activation", s.activation},
          {"noise", s.noise},
          {"hidden", std::to_string(s.hidden)},
          {"same_flops", s.same_flops ? "yes" : "no"},
          {"experts", std::to_string(s.experts)},
          {"topk", std::to_string(s.topk)},
          {"capacity", fmt::format("{}", s.capacity)},
          {"slots", std::to_string(s.slots)},
          {"dropout", fmt::format("{}", s.dropout)}};
}

void add_feed_forward_options(CLI::App& app, FeedForwardSettings& s) {
  std::vector<std::string> names{"moe"};
  for (const FeedForwardKind& kind : kKinds) names.push_back(kind.name);
  app.add_option("--ffn", s.ffn, names_with_help())
      ->capture_default_str()
      ->check(CLI::IsMember(names).description(""))
      ->type_name("NAME");
  add_choice(app, "--activation", s.activation, "of the feed-forward layers",
             {"relu", "gelu", "silu", "swiglu", "geglu"});
  add_number(app, "--hidden", s.hidden, "channels inside a feed-forward layer; 0: four times the width", 0);
  app.add_flag("--same-flops", s.same_flops, "narrow the experts, so that a token costs as much as with --ffn dense");
  add_number(app, "--experts", s.experts, "experts of each mixture", 1);
  add_number(app, "--topk", s.topk, "experts that each token uses", 1);
  add_number(app, "--capacity", s.capacity,
             "slots of an expert relative to an even share; 0: the layer's own, with top_k none is ever dropped", 0);
  add_number(app, "--slots", s.slots, "slots of each expert of a soft mixture; 0: as many as --capacity says", 0);
  add_choice(app, "--router-noise", s.noise, "of routers that can have it, in training; own: the layer's",
             {"own", "none", "gumbel", "gaussian", "jitter", "simple"});
  add_number(app, "--dropout", s.dropout, "probability", 0, 0.99);
}

}  // namespace examples

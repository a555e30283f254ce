// Layers of pytorch-mixtures, both versions, and the expert-choice notebook.
#include <fmt/format.h>

#include "core/choose.h"
#include "nn/moe/losses.h"
#include "nn/moe/mhsa.h"
#include "nn/moe/mod_layer.h"
#include "nn/moe/moe_layer.h"
#include "nn/moe/soft_router.h"
#include "ops/ops.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// ---- what all of them need

void check_that(bool ok, const std::string& what) {
  if (!ok) throw CaseError(what);
}

// The file must have no other inputs, and be of one of these variants.
const Tensor& only_x(LayerFile& file, const std::set<std::string>& variants, const std::set<std::string>& more = {}) {
  for (const auto& [name, tensor] : file.inputs)
    check_that(name == "x" || more.count(name) > 0, fmt::format("unknown input '{}'", name));
  check_that(variants.count(file.variant) > 0, fmt::format("unknown variant '{}'", file.variant));
  check_that(file.inputs.count("x") > 0, "the file has no input x");
  return file.inputs["x"];
}

void check_size(LayerFile& file, const char* key, i64 size) {
  const i64 said = file.config.integer(key, size);
  check_that(said == size, fmt::format("{} must be {}; got {}", key, size, said));
}

Context context_of(const LayerFile& file) {
  Context context;
  context.training = file.training;
  return context;
}

struct Maker {
  explicit Maker(DType dtype) : init(random, dtype) {}
  Random random{1};
  Init init;
};

template <class L> std::unique_ptr<L> loaded(std::unique_ptr<L> layer, const LayerFile& file) {
  layer->load_state_dict(file.parameters);
  return layer;
}

// dispatch or combine [G, E C, N] in the project's layout.
Tensor by_token(const Tensor& slots, i64 experts) {
  return rearrange(dense(slots), "b (e c) n -> b n e c", {{"e", experts}});
}

// ---- the first version: routers

const RouterGate::Options kGate{.columns = true, .weight = "weights.w_gate"};

std::unique_ptr<Router> router_of(const std::string& kind, Arguments& config, const Capacity& capacity, Init& init) {
  const i64 dim = config.integer("dim"), E = config.integer("num_experts");
  if (kind == "TopkRouter")
    return std::make_unique<TopKRouter>(
        dim,
        TopKRouter::Options{
            .experts = E, .k = config.integer("topk"), .capacity = capacity, .renormalize = false, .gate = kGate},
        init);
  if (kind == "ExpertChoiceRouter")
    return std::make_unique<ExpertChoiceRouter>(
        dim, ExpertChoiceRouter::Options{.experts = E, .capacity = capacity, .gate = kGate}, init);
  check_that(kind == "SoftRouter", fmt::format("unknown router '{}'", kind));
  return std::make_unique<SoftRouter>(dim,
                                      SoftRouter::Options{.experts = E,
                                                          .slots = config.integer("seq_len") / E,
                                                          .normalize_tokens = false,
                                                          .slot_norm = SoftRouter::SlotNorm::none,
                                                          .weights = {SoftWeights::Combine::experts_then_slots},
                                                          .names = {.phi = "weights.w_gate"}},
                                      init);
}

// What these routers give beside y.
void add_routing(std::map<std::string, Tensor>& out, const Routing& r, Context& context) {
  const Tensor zero = zeros({}, DType::f32);  // a constant of theirs, whatever the dtype is
  out["router_logits"] = r.logits;
  out["router_probs"] = r.probabilities;
  out["dispatch"] = by_token(r.dispatch, r.experts);
  out["combine"] = by_token(r.combine, r.experts);
  out["aux_loss"] = r.chosen ? load_balancing_terms(r.probabilities, r.chosen, {}, Share::tokens) : zero;
  const auto z = context.losses.find("router_z");
  out["router_z_loss"] = z == context.losses.end() ? zero : z->second;
}

LayerAdapter router(const char* kind) {
  return [kind](LayerFile& file) {
    Maker maker(file.dtype);
    const Tensor& x = only_x(file, {"as-is"});
    const auto call = file.config.sizes("forward");
    check_that(call.size() == 1 && call[0].first == "expert_capacity", "forward must have expert_capacity alone");
    const bool soft = std::string(kind) == "SoftRouter";  // which ignores it
    check_that(soft || call[0].second > 0, "expert_capacity must be at least 1");
    Context context = context_of(file);
    auto layer = loaded(router_of(kind, file.config, {.slots = call[0].second}, maker.init), file);
    const Routing r = layer->route(x, {}, context);
    std::map<std::string, Tensor> out;
    add_routing(out, r, context);
    out["y"] = out["combine"];
    return LayerRun{std::move(layer), out};
  };
}

// ---- the first version: layers

// "Linear(8,5)": from 8 to 5 features.
LinearExperts::Options experts_of(const std::string& text, i64 dim, i64 count) {
  long long in = 0, out = 0;
  char end = 0;
  check_that(std::sscanf(text.c_str(), "Linear(%lld,%lld%c", &in, &out, &end) == 3 && end == ')' && in == dim,
             fmt::format("experts must be Linear({},..); got {}", dim, text));
  return {.experts = count, .out = out};
}

LayerRun moe_layer(LayerFile& file) {
  Maker maker(file.dtype);
  Arguments& c = file.config;
  const Tensor& x = only_x(file, {"as-is", "fixed"});
  const i64 dim = c.integer("dim"), E = c.integer("num_experts");
  const Capacity capacity{.factor = c.number("capacity_factor"), .rule = Capacity::Rule::tokens};
  auto layer = loaded(std::make_unique<MoELayer>(
                          router_of(c.text("router"), c, capacity, maker.init),
                          std::make_unique<LinearExperts>(dim, experts_of(c.text("experts"), dim, E), maker.init)),
                      file);
  Context context = context_of(file);
  const Routing r = layer->route(x, context);
  check_size(file, "derived_capacity", r.slots_per_expert());
  std::map<std::string, Tensor> out{{"y", layer->process(x, r, context)}};
  add_routing(out, r, context);
  return {std::move(layer), out};
}

MHSA::Options attention_of(LayerFile& file, bool scaling) {
  check_that(file.config.number("dropout", 0) == 0 || !file.training, "dropout needs the numbers that it drew");
  return {.heads = file.config.integer("num_heads"),
          .scaling = scaling ? MHSA::Scaling::probabilities : MHSA::Scaling::none};
}

LayerRun mhsa(LayerFile& file) {
  Maker maker(file.dtype);
  const Tensor& x = only_x(file, {"as-is"});
  const MHSA::Options options = attention_of(file, file.config.flag("scaling", true));
  auto layer = loaded(std::make_unique<MHSA>(file.config.integer("dim"), options, maker.init), file);
  Context context = context_of(file);
  const Tensor y = layer->forward(x, context);
  return {std::move(layer), {{"y", y}}};
}

LayerRun mod_layer(LayerFile& file) {
  Maker maker(file.dtype);
  Arguments& c = file.config;
  const Tensor& x = only_x(file, {"as-is"}, {"expert_index"});
  check_size(file, "num_experts", 1);
  const i64 dim = c.integer("dim");
  const MoDLayer::Options options{.capacity = {.factor = c.number("capacity_factor"), .rule = Capacity::Rule::tokens},
                                  .gates = ChoiceGates::over_experts,
                                  .residual = false,
                                  .in_order = false,
                                  .gate = kGate,
                                  .block_name = "attn_fn"};
  auto attention = std::make_unique<MHSA>(dim, attention_of(file, c.flag("scaling", true)), maker.init);
  auto layer = loaded(std::make_unique<MoDLayer>(dim, std::move(attention), options, maker.init), file);
  Context context = context_of(file);
  std::vector<Choice> choices;  // all gates are 1: which tokens are picked is in the file
  if (file.inputs.count("expert_index") > 0)
    choices.push_back({"top_k", unsqueeze(file.inputs["expert_index"], 1), 0, {x.dim(0), 1, x.dim(1)}});
  RouteTape tape(choices);
  const Routing r = [&] {
    if (choices.empty()) return layer->route(x, context);
    const TapeScope replay(tape, TapeMode::replay);
    return layer->route(x, context);
  }();
  check_size(file, "derived_capacity", r.slots_per_expert());
  std::map<std::string, Tensor> out{{"y", layer->process(x, r, context)}};
  add_routing(out, r, context);
  return {std::move(layer), out};
}

struct NoParameters : Module {
  void members(Members&) override {}
};

LayerRun losses(LayerFile& file) {
  const Tensor& logits = only_x(file, {"as-is"});
  check_size(file, "B", logits.dim(0));
  check_size(file, "N", logits.dim(1));
  check_size(file, "E", logits.dim(2));
  const Tensor p = softmax(logits, -1), chosen = top_k(p, file.config.integer("topk"), -1).indices;
  return {std::make_unique<NoParameters>(),
          {{"router_probs", p},
           {"expert_indices", chosen},
           {"load_balancing_loss", load_balancing_terms(p, chosen, {}, Share::tokens)},
           {"router_z_loss", router_z_loss(logits)}}};
}

// ---- the newest version

// Its experts; "hidden" is F, which of the two sizes of a gated expert its variant says.
MixtureOptions mixture_of(LayerFile& file) {
  Arguments& c = file.config;
  const std::string kind = c.text("expert_fn"), act = c.text("expert_act");
  const bool gated = kind == "swiglu", half = file.variant == "down-half";
  check_that(gated || kind == "ff", fmt::format("unknown expert_fn '{}'", kind));
  check_that(gated == (file.variant != "as-is"), fmt::format("{} experts have no variant {}", kind, file.variant));
  const i64 hidden = c.integer("intermediate_dim");
  const Activation activation = activation_by_name(act);
  check_that(!is_gated(activation), fmt::format("expert_act must be a function of one tensor; got {}", act));
  return {.experts = c.integer("num_experts"),
          .hidden = half ? hidden / 2 : hidden,
          .activation = activation,
          .gated = gated};
}

LayerRun head(LayerFile& file, bool expert_choice) {
  Maker maker(file.dtype);
  Arguments& c = file.config;
  const Tensor& x = only_x(file, {"as-is", "down-half", "gate-double"});
  const std::string router = c.text("router_fn");
  check_that(router == (expert_choice ? "ec" : "topk"), fmt::format("the router_fn of another class: {}", router));
  const i64 dim = c.integer("hidden_dim"), k = c.integer("topk", 0);  // null where experts choose
  const double factor = c.number("capacity_factor", 0);               // null where tokens do
  const MixtureOptions options = mixture_of(file);
  std::unique_ptr<MoE> layer;
  if (expert_choice)
    layer = std::make_unique<ExpertChoiceMoE>(dim, options, factor, maker.init);
  else
    layer = std::make_unique<TopkMoE>(dim, options, k, maker.init);
  layer->load_state_dict(file.parameters);
  Context context = context_of(file);
  const Routing r = layer->route(x, context);
  if (expert_choice) check_size(file, "derived_capacity", r.slots_per_expert());
  const Tensor selected = expert_choice ? reshape(r.token, r.gates[0].shape()) : r.chosen[0],
               y = layer->process(x, r, context);
  return {std::move(layer),
          {{"router_logits", r.logits[0]}, {"selected", selected}, {"weights", r.gates[0]}, {"y", y}}};
}

// ---- the notebook

// Expert choice over each row, with feed-forward experts whose weights are stored as the notebook has them.
struct NotebookMixture : MoE {
  using MoE::MoE;
  void members(Members& m) override {
    auto& e = dynamic_cast<FeedForwardExperts&>(*experts);
    m.child("", *router);
    m.parameter("w1", e.w1);
    m.parameter("w2", e.w2);
  }
};

LayerRun notebook(LayerFile& file) {
  Maker maker(file.dtype);
  Arguments& c = file.config;
  const Tensor& x = only_x(file, {"as-is"});
  const i64 E = c.integer("num_experts"), k = c.integer("tok_per_expert"), D = c.integer("C"), T = c.integer("T");
  check_size(file, "B", x.dim(0));
  const double picks = static_cast<double>(T) / static_cast<double>(E) * c.number("expert_cap");
  check_that(T == x.dim(1) && k == static_cast<i64>(picks), "tok_per_expert must be int((T / E) expert_cap)");
  auto router = std::make_unique<ExpertChoiceRouter>(
      D, ExpertChoiceRouter::Options{.experts = E, .capacity = {.slots = k}, .gate = {.bias = true}}, maker.init);
  auto experts = std::make_unique<FeedForwardExperts>(
      D, FeedForwardExperts::Options{.experts = E, .hidden = c.integer("hidden")}, maker.init);
  const FeedForwardExperts& e = *experts;
  auto layer = loaded(std::make_unique<NotebookMixture>(std::move(router), std::move(experts)), file);
  Context context = context_of(file);
  const Routing r = layer->route(x, context);
  std::map<std::string, Tensor> out{{"scores", r.logits},
                                    {"probs", r.probabilities},
                                    {"topk_values", r.gates},
                                    {"topk_indices", reshape(r.token, r.gates.shape())},
                                    {"one_hot", reshape(r.dispatch, {x.dim(0), E, k, T})}};
  out["xin"] = einsum("bekt,btc->bekc", out["one_hot"], x);
  out["hidden"] = einsum("bekc,ecf->bekf", out["xin"], e.w1);
  out["gelu"] = gelu(out["hidden"]);
  out["expert_out"] = einsum("bekf,efc->bekc", out["gelu"], e.w2);
  out["weighted"] = out["expert_out"] * unsqueeze(r.gates, -1);
  out["y"] = layer->process(x, r, context);
  return {std::move(layer), out};
}

}  // namespace

Layers mixtures_layers() {
  return {{"pytorch-mixtures TopkRouter", router("TopkRouter")},
          {"pytorch-mixtures ExpertChoiceRouter", router("ExpertChoiceRouter")},
          {"pytorch-mixtures SoftRouter", router("SoftRouter")},
          {"pytorch-mixtures MoELayer", moe_layer},
          {"pytorch-mixtures MHSA", mhsa},
          {"pytorch-mixtures MoDLayer", mod_layer},
          {"pytorch-mixtures load_balancing_loss, router_z_loss", losses},
          {"pytorch-mixtures TopkMoE", [](LayerFile& file) { return head(file, false); }},
          {"pytorch-mixtures ExpertChoiceMoE", [](LayerFile& file) { return head(file, true); }},
          {"notebook (expert choice with one-hot einsum)", notebook}};
}

}  // namespace moegrad::golden

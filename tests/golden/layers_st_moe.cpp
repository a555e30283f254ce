// Layers of st-moe-pytorch.
#include <cmath>

#include "nn/moe/sparse_moe_block.h"
#include "ops/ops.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// One number or a list: the thresholds of the second choice and the following ones.
std::vector<double> thresholds(Arguments& config, const std::string& key) {
  if (!config.has(key)) return {0.2};
  try {
    return {config.number(key)};
  } catch (const CaseError&) {
    return config.numbers(key);
  }
}

void must_be(bool ok, const std::string& what) {
  if (!ok) throw CaseError("cannot do " + what);
}

// noise_gates and noise_mult, which are arguments of the call: in "forward" or beside the others.
double gate_noise(Arguments& config) {
  Arguments call = config.within("forward");
  const bool noisy = config.flag("noise_gates", false) || call.flag("noise_gates", false);
  const double beside = config.number("noise_mult", 1), factor = call.number("noise_mult", beside);
  call.check_all_read();
  return noisy ? factor : 0;
}

StMoE::Options options_of(Arguments& config) {
  StMoE::Options o;
  o.router = {.experts = config.integer("num_experts", 16),
              .top_n = config.integer("gating_top_n", 2),
              .threshold_train = thresholds(config, "threshold_train"),
              .threshold_eval = thresholds(config, "threshold_eval"),
              .capacity_factor_train = config.number("capacity_factor_train", 1.25),
              .capacity_factor_eval = config.number("capacity_factor_eval", 2),
              .straight_through = config.flag("straight_through_dispatch_tensor", true),
              .counted = StMoERouter::Counted::kept,
              .gate_noise = gate_noise(config),
              .gate_noise_in_evaluation = true,
              .differentiable_topk = config.flag("differentiable_topk", false)};
  config.flag("differentiable_topk_fused", true);  // how the above would be computed
  config.flag("allow_var_seq_len", false);         // between processes
  o.hidden_mult = config.number("expert_hidden_mult", 4);
  o.balance_coefficient = config.number("balance_loss_coef", 1e-2);
  o.z_coefficient = config.number("router_z_loss_coef", 1e-3);
  must_be(!config.has("is_distributed") || !config.flag("is_distributed", false), "a run of several processes");
  must_be(!config.has("experts"), "experts that the file describes");
  return o;
}

// Gate noise, where the file has it, is drawn before the numbers that decide about second choices. It may be stored as
// the uniform numbers u that -log(-log u) is made of or as that itself; then "gumbel" is in its name.
std::vector<Tensor> replayed(LayerFile& file, bool gate_noise) {
  must_be(file.variant == "as-is", "the variant '" + file.variant + "'");
  std::vector<Tensor> tensors;
  for (const auto& [name, x] : file.inputs) {
    if (name == "x" || name == "noise") continue;
    must_be(gate_noise && tensors.empty(), "the input '" + name + "'");
    tensors.push_back(name.find("gumbel") != std::string::npos ? x : gumbel_of_uniform(x));
  }
  must_be(!gate_noise || tensors.size() == 1, "noise_gates without its numbers");
  tensors.push_back(file.inputs.at("noise"));
  return tensors;
}

void add_routing(LayerRun& run, const Routing& r) {
  run.outputs["dispatch"] = gt(dense_dispatch(r), scalar(0, r.combine.dtype()));
  run.outputs["combine"] = dense_combine(r);
  run.outputs["should_route"] = taken_choices(r);
}

void add_losses(LayerRun& run, const StMoE& moe, const Context& context, const LayerFile& file) {
  const bool train = file.training;  // in evaluation the reference gives a constant [1], and ours must give none
  must_be(train || context.losses.empty(), "losses in evaluation");
  const Tensor none = zeros({1}, file.dtype);
  run.outputs["balance_loss"] = train ? context.losses.at("load_balancing") : none;
  run.outputs["router_z_loss"] = train ? context.losses.at("router_z") : none;
  run.outputs["total_aux_loss"] = train ? moe.auxiliary_loss(context) : none;
}

void check_capacity(const StMoE& moe, LayerFile& file) {
  if (!file.config.has("derived_capacity")) return;
  const auto& router = dynamic_cast<const StMoERouter&>(*moe.router);
  const i64 tokens = file.inputs.at("x").dim(-2);
  must_be(router.capacity(tokens, file.training) == file.config.integer("derived_capacity"), "that derived_capacity");
}

LayerRun st_moe(LayerFile& file) {
  Random random(1);
  Init init(random, file.dtype);
  const StMoE::Options options = options_of(file.config);
  auto layer = std::make_unique<StMoE>(file.config.integer("dim"), options, init);
  layer->load_state_dict(file.parameters);
  check_capacity(*layer, file);
  Context context{.training = file.training};
  context.replayed.tensors = replayed(file, options.router.gate_noise > 0);
  const Tensor x = file.inputs.at("x");
  const Routing r = layer->route(x, context);
  LayerRun run{{}, {{"y", layer->process(x, r, context)}}};
  add_routing(run, r);
  add_losses(run, *layer, context, file);
  run.layer = std::move(layer);
  return run;
}

LayerRun sparse_moe_block(LayerFile& file) {
  Random random(1);
  Init init(random, file.dtype);
  Arguments block = file.config.within("block");
  const SparseMoEBlock::Options options{.moe = options_of(file.config),
                                        .ff_before = block.flag("add_ff_before", false),
                                        .ff_after = block.flag("add_ff_after", true)};
  block.check_all_read();
  auto layer = std::make_unique<SparseMoEBlock>(file.config.integer("dim"), options, init);
  layer->load_state_dict(file.parameters);
  check_capacity(*layer->moe, file);
  Context context{.training = file.training};
  context.replayed.tensors = replayed(file, options.moe.router.gate_noise > 0);
  Context again = context;
  Tensor x = file.inputs.at("x");
  LayerRun run{{}, {{"y", layer->forward(x, context)}}};
  if (layer->ff_before) x = x + layer->ff_before->forward(x, again);
  add_routing(run, layer->moe->route(layer->moe_prenorm.forward(x), again));
  add_losses(run, *layer->moe, context, file);
  run.layer = std::move(layer);
  return run;
}

}  // namespace

Layers st_moe_layers() { return {{"st-moe-pytorch MoE", st_moe}, {"st-moe-pytorch SparseMoEBlock", sparse_moe_block}}; }

}  // namespace moegrad::golden

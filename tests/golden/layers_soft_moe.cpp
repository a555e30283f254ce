// Layers of soft-moe-pytorch.
#include <fmt/format.h>

#include "nn/moe/soft_moe.h"
#include "ops/ops.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// What every layer of the project does in one process. Its masked tokens get the mean of all slots.
constexpr SoftWeights kWeights{.masked = SoftWeights::Masked::mean_of_slots};

// Where experts run says nothing about numbers, except that here is one process.
void check_one_process(LayerFile& file) {
  if (file.config.flag("is_distributed", false)) throw CaseError("is_distributed: there is one process");
  file.config.flag("offload_unused_experts_to_cpu", true);
}

// dropout draws random numbers, which no file of the project holds.
double dropout_of(LayerFile& file) {
  const double p = file.config.number("dropout", 0);
  if (p != 0 && file.training) throw CaseError(fmt::format("dropout {} in training cannot be replayed", p));
  return p;
}

// Call arguments: {"add_noise": .., "noise_mult": ..}.
SoftNoise noise_of(LayerFile& file, Context& context) {
  Arguments call = file.config.within("forward");
  const bool noisy = call.flag("add_noise", false);
  const double factor = call.number("noise_mult", 1);
  call.check_all_read();
  if (!noisy) return {};
  if (file.inputs.count("noise") == 0) throw CaseError("add_noise needs the uniform numbers in.noise");
  context.replayed.tensors = {gumbel_of_uniform(file.inputs["noise"])};
  return {.factor = factor, .in_evaluation = true};
}

void check_inputs(const LayerFile& file) {
  if (file.variant != "as-is") throw CaseError(fmt::format("the variant '{}' is not known", file.variant));
  for (const auto& [name, x] : file.inputs)
    if (name != "x" && name != "mask" && name != "noise" && name != "gumbel")
      throw CaseError(fmt::format("in.{} has no meaning here", name));
}

template <class L> LayerRun run(LayerFile& file, std::unique_ptr<L> layer, Context& context) {
  check_inputs(file);
  layer->load_state_dict(file.parameters);
  if (file.inputs.count("mask") > 0) context.mask = file.inputs["mask"];
  Tensor y = layer->forward(file.inputs["x"], context);
  return {std::move(layer), {{"y", y}}};
}

LayerRun soft_moe(LayerFile& file) {
  Random random(0);
  Init init(random, file.dtype);
  Context context{.training = file.training};
  check_one_process(file);
  SoftMoE::Options o{.num_experts = file.config.integer("num_experts", 4),
                     .seq_len = file.config.integer("seq_len", 0),
                     .num_slots = file.config.integer("num_slots", 0),
                     .expert_mult = file.config.number("expert_mult", 4),
                     .dropout = dropout_of(file),
                     .geglu = file.config.flag("geglu", false),
                     .use_layernorm = file.config.flag("use_layernorm", false),
                     .noise = noise_of(file, context),
                     .weights = kWeights};
  return run(file, std::make_unique<SoftMoE>(file.config.integer("dim"), o, init), context);
}

LayerRun dynamic_slots(LayerFile& file) {
  Random random(0);
  Init init(random, file.dtype);
  Context context{.training = file.training};
  const DynamicSlotsSoftMoE::Options o{.num_experts = file.config.integer("num_experts", 4),
                                       .expert_mult = file.config.number("expert_mult", 4),
                                       .dropout = dropout_of(file),
                                       .geglu = file.config.flag("geglu", false),
                                       .weights = kWeights};
  return run(file, std::make_unique<DynamicSlotsSoftMoE>(file.config.integer("dim"), o, init), context);
}

}  // namespace

Layers soft_moe_layers() {
  return {{"soft-moe-pytorch SoftMoE", soft_moe}, {"soft-moe-pytorch DynamicSlotsSoftMoE", dynamic_slots}};
}

}  // namespace moegrad::golden

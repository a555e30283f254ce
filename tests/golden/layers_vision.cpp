// Layers of soft-moe: a wrapper around any layer, and vision transformers made with it.
#include <fmt/format.h>

#include "nn/moe/soft_moe_wrapper.h"
#include "nn/transformer_encoder_layer.h"
#include "nn/vision/vision_transformer.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// A rate of random zeros, which no file has the numbers for: it must not act.
double rate(Arguments& a, const char* key, bool training, double otherwise = 0) {
  const double p = a.number(key, otherwise);
  if (training && p != 0) throw CaseError(fmt::format("'{}' is {} in training, and its draws are not known", key, p));
  return p;
}

// "torch.nn.modules.activation.GELU", "<class 'nn.GELU'>" or "gelu" -> "gelu".
std::string last_word(const std::string& name) {
  std::string word;
  for (const char c : name.substr(0, name.find_last_not_of("'>") + 1).substr(name.rfind('.') + 1))
    word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return word;
}

Activation activation(Arguments& a, const char* key, const char* otherwise) {
  return activation_by_name(last_word(a.text(key, otherwise)));
}

// The norm of that name, with the eps of its class. RmsNorm is refused: that of timm 0.9.2 divides by the unbiased
// deviation from the mean, which is no RMS.
NormOptions norm(Arguments& a, const char* key, NormOptions otherwise) {
  const std::string path = a.text(key, ""), name = last_word(path);
  const bool timm = path.find("timm") != std::string::npos;
  if (name.empty()) return otherwise;
  if (name == "layernorm") return {.eps = timm ? 1e-6 : 1e-5};
  throw CaseError(fmt::format("unknown norm '{}'", name));
}

// Of a layer's own config: where its weights are, and in which precision.
void check_place(Arguments& a) {
  for (const char* key : {"device", "dtype"})
    if (a.has(key)) throw CaseError(fmt::format("'{}' must be null", key));
}

void check_width(Arguments& a, const char* key, i64 width) {
  if (const i64 given = a.integer(key, width); given != width)
    throw CaseError(fmt::format("'{}' must be the width {}; got {}", key, width, given));
}

// ---- the wrapper

using MakeExperts = std::function<std::unique_ptr<Experts>(i64 experts, Init& init)>;

template <class Make> std::unique_ptr<Experts> one_by_one(i64 experts, Make make) {
  std::vector<std::unique_ptr<Layer>> layers;
  for (i64 e = 0; e < experts; ++e) layers.push_back(make());
  return std::make_unique<ModuleExperts>(std::move(layers));
}

MakeExperts linear(Arguments& a, i64 width) {
  check_width(a, "in_features", width);
  const i64 out = a.integer("out_features");
  const bool bias = a.flag("bias", true);
  return [=](i64 experts, Init& init) {
    return std::make_unique<LinearExperts>(width, LinearExperts::Options{.experts = experts, .out = out, .bias = bias},
                                           init);
  };
}

MakeExperts mlp(Arguments& a, i64 width, bool training) {
  check_width(a, "in_features", width);
  const Mlp::Options options{.hidden = a.integer("hidden_features", 0),
                             .out = a.integer("out_features", 0),
                             .activation = activation(a, "act_layer", "gelu"),
                             .bias = a.flag("bias", true),
                             .dropout = rate(a, "drop", training)};
  if (a.has("norm_layer")) throw CaseError("an Mlp with a norm is not known");
  if (a.flag("use_conv", false)) throw CaseError("an Mlp of convolutions is not known");
  return [=](i64 experts, Init& init) { return mlp_experts(experts, width, options, init); };
}

MakeExperts attention(Arguments& a, i64 width, bool training) {
  check_width(a, "dim", width);
  const FusedAttention::Options options{.heads = a.integer("num_heads", 8),
                                        .qkv_bias = a.flag("qkv_bias", false),
                                        .qk_norm = a.flag("qk_norm", false),
                                        .dropout = rate(a, "attn_drop", training),
                                        .output_dropout = rate(a, "proj_drop", training),
                                        .norm = norm(a, "norm_layer", {.eps = 1e-5})};
  return [=](i64 experts, Init& init) {
    return one_by_one(experts, [&] { return std::make_unique<FusedAttention>(width, options, init); });
  };
}

MakeExperts encoder(Arguments& a, i64 width, bool training) {
  check_width(a, "d_model", width);
  check_place(a);
  const TransformerEncoderLayer::Options options{.heads = a.integer("nhead"),
                                                 .hidden = a.integer("dim_feedforward", 2048),
                                                 .dropout = rate(a, "dropout", training, 0.1),
                                                 .activation = activation(a, "activation", "relu"),
                                                 .eps = a.number("layer_norm_eps", 1e-5),
                                                 .batch_first = a.flag("batch_first", false),
                                                 .norm_first = a.flag("norm_first", false),
                                                 .bias = a.flag("bias", true)};
  return [=](i64 experts, Init& init) {
    return one_by_one(experts, [&] { return std::make_unique<TransformerEncoderLayer>(width, options, init); });
  };
}

MakeExperts experts_of(Arguments& layer, i64 width, bool training) {
  const std::string type = last_word(layer.text("type"));
  if (type == "linear") {
    check_place(layer);
    return linear(layer, width);
  }
  if (type == "mlp") return mlp(layer, width, training);
  if (type == "attention") return attention(layer, width, training);
  if (type == "transformerencoderlayer") return encoder(layer, width, training);
  throw CaseError(fmt::format("experts of unknown type '{}'", type));
}

template <class Model> LayerRun run(LayerFile& file, std::unique_ptr<Model> model) {
  if (file.variant != "as-is") throw CaseError(fmt::format("unknown variant '{}'", file.variant));
  for (const auto& [name, x] : file.inputs)
    if (name != "x") throw CaseError(fmt::format("unknown input '{}'", name));
  model->load_state_dict(file.parameters);
  return {std::move(model), {}};
}

LayerRun wrapper(LayerFile& file) {
  Arguments& a = file.config;
  const i64 width = a.integer("dim");
  const SoftMoEWrapper::Options options{.experts = a.integer("num_experts"),
                                        .slots = a.integer("slots_per_expert"),
                                        .normalize = a.flag("normalize", true),
                                        .average_normalized = true};
  Arguments layer = a.within("layer");
  const MakeExperts make = experts_of(layer, width, file.training);
  layer.check_all_read();
  Random random(1);
  Init init(random, file.dtype);
  auto model = std::make_unique<SoftMoEWrapper>(width, options, make(options.experts, init), init);
  const SoftMoEWrapper& moe = *model;
  LayerRun result = run(file, std::move(model));
  Context context{.training = file.training};
  result.outputs["y"] = moe.forward(file.inputs.at("x"), context);
  return result;
}

// ---- vision transformers

GlobalPool pool_by_name(const std::string& name) {
  if (name.empty()) return GlobalPool::none;
  if (name == "token") return GlobalPool::token;
  if (name == "avg") return GlobalPool::avg;
  throw CaseError(fmt::format("unknown global_pool '{}'", name));
}

Size2 size_of(Arguments& a, const char* key, i64 otherwise) {
  const auto [rows, columns] = a.pair(key, {otherwise, otherwise});
  return {rows, columns};
}

// The layers that a model is made of must be the usual ones.
void check_parts(Arguments& a) {
  constexpr std::pair<const char*, const char*> kParts[] = {
      {"embed_layer", "patchembed"}, {"block_fn", "block"}, {"mlp_layer", "mlp"}};
  for (const auto& [key, usual] : kParts)
    if (const std::string name = last_word(a.text(key, usual)); name != usual)
      throw CaseError(fmt::format("'{}' must be {}; got {}", key, usual, name));
}

void read_rates(Arguments& a, bool training, ViTOptions& o) {
  o.drop_rate = rate(a, "drop_rate", training);
  o.pos_drop_rate = rate(a, "pos_drop_rate", training);
  o.patch_drop_rate = rate(a, "patch_drop_rate", training);
  o.proj_drop_rate = rate(a, "proj_drop_rate", training);
  o.attn_drop_rate = rate(a, "attn_drop_rate", training);
  o.drop_path_rate = rate(a, "drop_path_rate", training);
}

ViTOptions read_options(Arguments& a, bool training) {
  ViTOptions o{.num_experts = a.integer("num_experts", 128),
               .slots_per_expert = a.integer("slots_per_expert", 1),
               .moe_layer_index = a.is_list("moe_layer_index") ? MoEBlocks(a.integers("moe_layer_index"))
                                                               : MoEBlocks(a.integer("moe_layer_index", 6)),
               .img_size = size_of(a, "img_size", 224),
               .patch_size = size_of(a, "patch_size", 16),
               .in_chans = a.integer("in_chans", 3),
               .num_classes = a.integer("num_classes", 1000),
               .global_pool = pool_by_name(a.text("global_pool", "token")),
               .embed_dim = a.integer("embed_dim", 768),
               .depth = a.integer("depth", 12),
               .num_heads = a.integer("num_heads", 12),
               .mlp_ratio = a.number("mlp_ratio", 4),
               .qkv_bias = a.flag("qkv_bias", true),
               .qk_norm = a.flag("qk_norm", false)};
  if (const double initial = a.number("init_values", 0); initial != 0) o.init_values = initial;  // 0: no layer scale
  o.class_token = a.flag("class_token", true);
  o.no_embed_class = a.flag("no_embed_class", false);
  o.pre_norm = a.flag("pre_norm", false);
  if (a.has("fc_norm")) o.fc_norm = a.flag("fc_norm", false);
  o.weight_init = weight_init_by_name(a.text("weight_init", ""));
  o.norm_layer = norm(a, "norm_layer", {.eps = 1e-6});
  o.act_layer = activation(a, "act_layer", "gelu");
  o.average_normalized = true;
  read_rates(a, training, o);
  check_parts(a);
  return o;
}

LayerRun vision_transformer(LayerFile& file) {
  const ViTOptions options = read_options(file.config, file.training);
  Random random(1);
  Init init(random, file.dtype);
  auto model = std::make_unique<SoftMoEVisionTransformer>(options, init);
  const SoftMoEVisionTransformer& vit = *model;
  LayerRun result = run(file, std::move(model));
  Context context{.training = file.training};
  const Tensor features = vit.forward_features(file.inputs.at("x"), context);
  result.outputs["features"] = features;
  result.outputs["y"] = vit.forward_head(features, context);
  return result;
}

}  // namespace

Layers vision_layers() {
  return {{"soft-moe SoftMoELayerWrapper", wrapper}, {"soft-moe SoftMoEVisionTransformer", vision_transformer}};
}

}  // namespace moegrad::golden

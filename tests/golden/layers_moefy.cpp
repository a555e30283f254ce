// Layers of moefy.
#include <algorithm>
#include <regex>

#include "core/autograd.h"
#include "nn/conv2d.h"
#include "nn/moe/k_subset.h"
#include "nn/moe/moe_block.h"
#include "ops/autodiff/derivatives.h"
#include "ops/ops.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// ---- samplers: a function of logits

// The table as the file has it: a first column of "-1 ones", and -1e300 for what cannot be.
Tensor stored_table(const Tensor& logits, i64 k) {
  const Tensor table = log_pr_table(logits, k).detach();
  Shape column = table.shape();
  column[column.rank() - 1] = 1;
  const Tensor all = concat({full(column, -0x1p120, table.dtype()), table}, -1);
  return masked_fill(all, lt(all, scalar(-0x1p110, table.dtype())), -1e300);
}

void check_variant(const LayerFile& file) {
  if (file.variant != "as-is") throw CaseError("unknown variant '" + file.variant + "'");
}

LayerRun samplers(LayerFile& file) {
  check_variant(file);
  const Tensor logits = file.inputs.at("logits"), uniform = file.inputs.at("uniform"), dy = file.cotangents.at("y");
  const i64 k = file.config.integer("k");
  if (logits.shape() != Shape{file.config.integer("B"), file.config.integer("n")})
    throw CaseError("the logits are not [B, n]");
  const Tensor x = logits.detach().requires_grad_();
  const Tensor log_pr = log_pr_exactly(x, k), marginals = k_subset_marginals(x, k);
  const Tensor slope = grad(sum(log_pr), {x}, {.create_graph = true})[0];
  const Tensor hessian = grad(sum(slope * dy), {x})[0];
  LayerRun run;
  run.outputs = {{"log_pr_k", log_pr},
                 {"log_pr_table", stored_table(logits, k)},
                 {"marginals", marginals},
                 {"sample", sample_k_subset(logits, k, uniform)},
                 {"hessian_log_pr_k_times_cotangent", hessian},
                 {"code_backward_f32", hessian}};
  run.gradients = {{"logits_of_log_pr_k", slope}, {"logits_of_marginals", grad(sum(marginals * dy), {x})[0]}};
  return run;
}

// ---- the block

// "Linear(8,5)" -> {"Linear", {8, 5}}; "Conv2d(8,8,kernel 1)" -> {"Conv2d", {8, 8, 1}}.
struct Call {
  std::string name;
  std::vector<i64> numbers;
};
Call parse(const std::string& text) {
  static const std::regex whole(R"((\w+)\(([^()]*)\))"), number(R"(\d+)");
  std::smatch match;
  if (!std::regex_match(text, match, whole)) throw CaseError("cannot read the experts '" + text + "'");
  Call call{match[1], {}};
  const std::string inside = match[2];
  for (std::sregex_iterator at(inside.begin(), inside.end(), number), end; at != end; ++at)
    call.numbers.push_back(std::stoll(at->str()));
  return call;
}

std::unique_ptr<Layer> expert_of(const std::string& text, bool bias, Init& init) {
  const Call call = parse(text);
  if (call.name == "Linear" && call.numbers.size() == 2)
    return std::make_unique<AsLayer<Linear>>(call.numbers[0], call.numbers[1], init, Linear::Options{.bias = bias});
  const bool padded = call.numbers.size() == 4 && text.find("padding") != std::string::npos;
  if (call.name == "Conv2d" && (call.numbers.size() == 3 || padded)) {
    const Conv2d::Options options{.kernel = call.numbers[2], .conv = {.padding = padded ? call.numbers[3] : 0}};
    return std::make_unique<Conv2d>(call.numbers[0], call.numbers[1], init, options);
  }
  throw CaseError("unknown experts '" + text + "'");
}

// Linear experts of tokens run as a batch, others one by one.
std::unique_ptr<Experts> experts_of(LayerFile& file, i64 count, bool tokens, Init& init) {
  const std::string text = file.config.text("experts");
  const Call call = parse(text);
  const bool bias = std::any_of(file.parameters.begin(), file.parameters.end(),
                                [](const NamedTensor& t) { return t.name == "experts.0.bias"; });
  if (call.name == "Linear" && call.numbers.size() == 2 && tokens)
    return std::make_unique<LinearExperts>(
        call.numbers[0], LinearExperts::Options{.experts = count, .out = call.numbers[1], .bias = bias}, init);
  std::vector<std::unique_ptr<Layer>> list;
  for (i64 e = 0; e < count; ++e) list.push_back(expert_of(text, bias, init));
  return std::make_unique<ModuleExperts>(std::move(list));
}

// One of several words; null is the first.
template <class T> T word(Arguments& config, const std::string& key, std::vector<std::pair<const char*, T>> known) {
  if (!config.has(key)) return known.front().second;
  const std::string text = config.text(key);
  for (const auto& [name, value] : known)
    if (text == name) return value;
  throw CaseError("unknown " + key + " '" + text + "'");
}

MoEBlock::Options options_of(Arguments& config) {
  using Kind = RouterNoiseKind;
  using Auxiliary = BlockRouter::Auxiliary;
  MoEBlock::Options o;
  o.router.experts = config.integer("num_experts");
  o.router.k = config.integer("k");
  o.router.hole = config.flag("hole", false);
  o.router.expert_choice = config.flag("expert_choice", false);
  o.router.noise.kind = word<Kind>(
      config, "noise",
      {{"none", Kind::none}, {"gumbel", Kind::gumbel}, {"gaussian", Kind::gaussian}, {"simple", Kind::simple}});
  o.router.auxiliary =
      word<Auxiliary>(config, "aux_criterion",
                      {{"none", Auxiliary::none}, {"entropy", Auxiliary::l2_mass_entropy}, {"prob", Auxiliary::load}});
  o.router.load.thresholds = LoadOptions::Thresholds::clean;
  o.aggregation = word<MoEBlock::Aggregation>(
      config, "aggregation", {{"sum", MoEBlock::Aggregation::sum}, {"mean", MoEBlock::Aggregation::mean}});
  o.route = word<MoEBlock::Route>(config, "route",
                                  {{"tokens", MoEBlock::Route::tokens}, {"images", MoEBlock::Route::images}});
  o.layer_id = config.integer("layer_id", -1);
  return o;
}

// What the reference shows of a decision. It counts positions of images of 4 axes as [E, 1, 1].
void add_decision(LayerRun& run, const BlockDecision& d, const Tensor& x) {
  const Tensor masks = d.masks(), load = d.load();  // [E, B, S], [E, S]
  Shape mask_shape = masks.shape(), load_shape = load.shape();
  for (int a = x.rank() > 3 ? 0 : 1; a < 2; ++a) mask_shape.push_back(1);
  if (x.rank() > 3) load_shape.push_back(1);
  run.outputs["experts_masks"] = reshape(masks, mask_shape);
  run.outputs["experts_load"] = reshape(load, load_shape);
  run.outputs["routing"] = flatten(d.routing_matrix(), 0, 1);
  run.outputs["aux_loss"] = d.auxiliary ? d.auxiliary : scalar(0);  // without a criterion a constant, in f32
}

LayerRun block(LayerFile& file) {
  check_variant(file);
  Random random(1);
  Init init(random, file.dtype);
  const MoEBlock::Options options = options_of(file.config);
  const bool tokens = options.route == MoEBlock::Route::tokens;
  auto layer = std::make_unique<MoEBlock>(file.config.integer("input_dim"),
                                          experts_of(file, options.router.experts, tokens, init), options, init);
  layer->load_state_dict(file.parameters);
  Context context{.training = file.training};
  for (const auto& [name, x] : file.inputs) {
    if (name == "noise")
      context.replayed.tensors = {unsqueeze(x, 0)};
    else if (name != "x")
      throw CaseError("in." + name + " has no meaning here");
  }
  const Tensor x = file.inputs.at("x");
  const BlockDecision d = layer->decide(x, context);
  LayerRun run{{}, {{"y", layer->process(x, d, context)}}};
  add_decision(run, d, x);
  run.layer = std::move(layer);
  return run;
}

}  // namespace

Layers moefy_layers() { return {{"moefy samplers (SIMPLE)", samplers}, {"moefy MoEBlock", block}}; }

}  // namespace moegrad::golden

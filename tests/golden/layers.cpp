#include "tests/golden/layers.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace moegrad::golden {

Layers layers() {
  Layers all;
  for (Layers (*table)() : {soft_moe_layers, vision_layers, mixtures_layers, moefy_layers, st_moe_layers})
    for (auto& [name, adapter] : table())
      if (!all.emplace(name, std::move(adapter)).second)
        throw CaseError(fmt::format("two adapters have the name '{}'", name));
  return all;
}

std::string class_of(const Bundle& bundle) {
  const std::string source = bundle.text("source");
  return source.substr(0, source.find(" @ "));
}

std::string variant_of(const Bundle& bundle) {
  const std::string variant = bundle.text("variant");
  return variant.empty() ? "as-is" : variant;
}

namespace {

LayerFile read(Bundle& bundle) {
  const std::string mode = bundle.text("mode");
  if (mode != "train" && mode != "eval") throw CaseError(fmt::format("mode must be train or eval; got '{}'", mode));
  LayerFile file{{},
                 {},
                 {},
                 Arguments(bundle.json("config", Json::object()), bundle.dtype()),
                 mode == "train",
                 variant_of(bundle),
                 bundle.dtype()};
  for (const std::string& full : bundle.names("in.")) {
    const std::string name = full.substr(3);
    file.inputs[name] = bundle.take(full);
    if (bundle.has("grad." + name)) file.inputs[name].requires_grad_();
  }
  for (const std::string& full : bundle.names("cotangent."))
    if (!bundle.has("out." + full.substr(10))) file.cotangents[full.substr(10)] = bundle.take(full);
  for (const std::string& full : bundle.names("param.")) file.parameters.push_back({full.substr(6), bundle.take(full)});
  return file;
}

// Whether a tensor of the state dictionary is of that member, whose name has "{}" where a stack has a number.
bool is_of(const std::string& tensor, const std::string& member) {
  const auto at = member.find("{}");
  if (at == std::string::npos) return tensor == member;
  const std::string after = member.substr(at + 2);
  if (tensor.size() <= at + after.size() || !tensor.starts_with(member.substr(0, at)) || !tensor.ends_with(after))
    return false;
  const std::string number = tensor.substr(at, tensor.size() - at - after.size());
  return number.find_first_not_of("0123456789") == std::string::npos;
}

// The gradients of a layer's parameters under the names of its state dictionary: its values are overwritten with them,
// so that stacked and transposed weights come out as the file has them.
void check_parameters(Bundle& bundle, Module& layer, const std::vector<Tensor>& grads, Comparison& comparison) {
  const std::vector<Member> parameters = layer.named_parameters();
  {
    no_grad guard;
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].tensor->assign(grads[i]);
  }
  for (const NamedTensor& t : layer.state_dict()) {
    const std::string name = "grad.param." + t.name;
    if (bundle.has(name))
      comparison.check(name, t.tensor, bundle.take(name));
    else if (std::any_of(parameters.begin(), parameters.end(), [&](const Member& m) { return is_of(t.name, m.name); }))
      throw CaseError(fmt::format("the file has no '{}', and {} is a parameter", name, t.name));
  }
}

}  // namespace

void run_layer(Bundle& bundle, const Layers& layers, Comparison& comparison) {
  const auto adapter = layers.find(class_of(bundle));
  if (adapter == layers.end()) throw CaseError(fmt::format("unknown layer '{}'", class_of(bundle)));
  LayerFile file = read(bundle);
  LayerRun run = adapter->second(file);
  file.config.check_all_read();

  Tensor loss = zeros({}, bundle.dtype());
  for (const std::string& full : bundle.names("out.")) {
    const std::string name = full.substr(4), cotangent = "cotangent." + name;
    comparison.check(full, run.outputs[name], bundle.take(full));
    if (!comparison.passed()) return;
    if (bundle.has(cotangent)) loss = loss + sum(run.outputs[name] * bundle.take(cotangent));
  }
  for (const auto& [name, gradient] : run.gradients)
    comparison.check("grad." + name, gradient, bundle.take("grad." + name));
  std::vector<Tensor> leaves;
  std::vector<std::string> names;
  for (const auto& [name, x] : file.inputs)
    if (x.requires_grad()) leaves.push_back(x), names.push_back(name);
  if (run.layer)
    for (const Tensor& p : run.layer->parameters()) leaves.push_back(p);
  if (leaves.empty()) return;
  const std::vector<Tensor> grads = grad(loss, leaves);
  for (std::size_t i = 0; i < names.size(); ++i)
    comparison.check("grad." + names[i], grads[i], bundle.take("grad." + names[i]));
  if (!run.layer) return;
  check_parameters(bundle, *run.layer, {grads.begin() + static_cast<std::ptrdiff_t>(names.size()), grads.end()},
                   comparison);
}

}  // namespace moegrad::golden

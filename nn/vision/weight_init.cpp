#include "nn/vision/weight_init.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

namespace moegrad {

WeightInit weight_init_by_name(std::string_view name) {
  constexpr std::pair<const char*, WeightInit> kNames[] = {{"", WeightInit::timm},
                                                           {"jax", WeightInit::jax},
                                                           {"jax_nlhb", WeightInit::jax_nlhb},
                                                           {"moco", WeightInit::moco},
                                                           {"skip", WeightInit::skip}};
  for (const auto& [known, scheme] : kNames)
    if (name == known) return scheme;
  throw Error(fmt::format("weight_init: must be empty, jax, jax_nlhb, moco or skip; got {}", name));
}

namespace {

bool contains(const std::string& path, const char* part) { return path.find(part) != std::string::npos; }

// "blocks.0.attn.qkv" of "blocks.0.attn.qkv.weight"; "" of a name with another end.
std::string path_of(const std::string& name, std::string_view end) {
  return name.ends_with(end) ? name.substr(0, name.size() - end.size()) : std::string();
}

struct Scheme {
  WeightInit kind;
  double head_bias;
  Init& init;

  bool jax() const { return kind == WeightInit::jax || kind == WeightInit::jax_nlhb; }

  Tensor linear_weight(const Member& m, const std::string& path) const {
    const Shape shape = m.tensor->shape();
    if (kind == WeightInit::timm) return init.normal(shape, 0.02);
    if (jax() && path.starts_with("head")) return init.zeros(shape);
    i64 out = shape[shape.rank() - 2], in = shape[shape.rank() - 1];
    if (m.stack.transposed) std::swap(out, in);
    const bool three = kind == WeightInit::moco && contains(path, "qkv");
    return init.xavier_uniform(shape, in, three ? out / 3 : out);
  }

  Tensor linear_bias(const Member& m, const std::string& path) const {
    const Shape shape = m.tensor->shape();
    if (jax() && path.starts_with("head")) return init.constant(shape, head_bias);
    return jax() && contains(path, "mlp") ? init.normal(shape, 1e-6) : init.zeros(shape);
  }

  // The deviation of what is left of a normal distribution cut at +-2 is 0.8796.
  Tensor convolution_weight(const Member& m) const {
    const Shape shape = m.tensor->shape();
    constexpr double kCut = 0.87962566103423978;
    const double fan_in = static_cast<double>(shape[1] * shape[2] * shape[3]);
    return init.truncated_normal(shape, 1 / std::sqrt(fan_in) / kCut);
  }
};

}  // namespace

void init_weights(Module& module, WeightInit kind, i64 classes, Init& init) {
  if (kind == WeightInit::skip) return;
  const double head_bias = kind == WeightInit::jax_nlhb ? -std::log(static_cast<double>(classes)) : 0;
  const Scheme scheme{kind, head_bias, init};
  const std::vector<Member> members = module.all_members();
  std::set<std::string> linear, convolution;
  for (const Member& m : members) {
    const std::string path = path_of(m.name, ".weight");
    if (!m.trained || path.empty()) continue;
    if (m.rank() == 2) {
      linear.insert(path);
      *m.tensor = scheme.linear_weight(m, path);
    } else if (m.rank() == 4 && scheme.jax()) {
      convolution.insert(path);
      *m.tensor = scheme.convolution_weight(m);
    }
  }
  for (const Member& m : members) {
    const std::string path = path_of(m.name, ".bias");
    if (linear.count(path)) *m.tensor = scheme.linear_bias(m, path);
    if (convolution.count(path)) *m.tensor = init.zeros(m.tensor->shape());
  }
}

}  // namespace moegrad

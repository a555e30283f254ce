#include "ops/autodiff/anomaly.h"

#include <fmt/format.h>

#include <cmath>

#include "core/structure.h"
#include "ops/autodiff/describe_op.h"

namespace moegrad {
namespace {

constexpr std::size_t kMostLayers = std::size_t{1} << 20;  // nodes whose layer is remembered: the newest

[[noreturn]] void report(const std::string& what, const std::string& layer) {
  throw AnomalyError(fmt::format("anomaly: values must be finite; got {}{}", what,
                                 layer.empty() ? "" : fmt::format(", in layer '{}'", layer)));
}

std::string numbered(const char* what, std::size_t i, std::size_t of) {
  return of > 1 ? fmt::format("{} {}", what, i) : what;
}

}  // namespace

// "nan at element 3", or nothing.
std::string AnomalyMode::fault(const Tensor& x) const {
  if (!x || !is_float(x.dtype()) || structure_of(x)) return {};
  const std::vector<double> v = x.to_vector<double>();
  for (std::size_t i = 0; i < v.size(); ++i)
    if (std::isnan(v[i]) || (options_.infinities && std::isinf(v[i])))
      return fmt::format("{} at element {}", std::isnan(v[i]) ? "nan" : v[i] > 0 ? "inf" : "-inf", i);
  return {};
}

void AnomalyMode::ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) {
  const std::string layer = NameScope::current();
  if (node.serial > 0 && !layer.empty()) layers_[node.serial] = layer;
  if (layers_.size() > kMostLayers) layers_.erase(layers_.begin());
  if (rules_ > 0) return;  // inside a gradient, whose result will be checked
  for (std::size_t k = 0; k < ys.size(); ++k) {
    const std::string found = fault(ys[k]);
    if (found.empty()) continue;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (const std::string earlier = fault(inputs[i]); !earlier.empty())
        report(fmt::format("{} of {} of {}", earlier, describe_input(static_cast<int>(i), inputs[i].body().node.get()),
                           describe_op(node.name, node.attributes(), inputs)),
               layer);
    report(fmt::format("{} of the {} of {}", found, numbered("output", k, ys.size()),
                       describe_op(node.name, node.attributes(), inputs)),
           layer);
  }
}

void AnomalyMode::rule_begins(const Node& node, std::span<const Tensor> dys) {
  const auto layer = layers_.find(node.serial);
  for (std::size_t k = 0; k < dys.size(); ++k)
    if (const std::string found = fault(dys[k]); !found.empty())
      report(fmt::format("{} of the gradient that came to the {} of {}", found, numbered("output", k, dys.size()),
                         describe_op(node)),
             layer == layers_.end() ? "" : layer->second);
  ++rules_;
}

void AnomalyMode::rule_ended(const Node& node, std::span<const Tensor>, const SmallList<Tensor, 3>* dxs) {
  --rules_;
  if (!dxs) return;
  const auto layer = layers_.find(node.serial);
  for (int i = 0; i < dxs->size(); ++i)
    if (const std::string found = fault((*dxs)[i]); !found.empty() && node.inputs[i].node)
      report(fmt::format("{} of the gradient of {} of {}", found, describe_input(i, node.inputs[i].node.get()),
                         describe_op(node)),
             layer == layers_.end() ? "" : layer->second);
}

}  // namespace moegrad

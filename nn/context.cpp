#include "nn/context.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"

namespace moegrad {

void Context::add_loss(const std::string& name, const Tensor& value) {
  if (value.rank() != 0)
    throw ShapeError(fmt::format("context: an auxiliary loss must be a scalar; got {} {} from {}", name,
                                 to_string(value.shape()), path));
  Tensor& sum = losses[name];
  sum = sum ? sum + value : value;
}

void Context::record(const std::string& name, const Tensor& value) { records.push_back({path + name, value.detach()}); }

Draw Context::draw() {
  if (!random)
    throw Error(fmt::format("context: {} needs random numbers; set Context::random to a Random",
                            path.empty() ? "the layer" : fmt::format("layer '{}'", path)));
  return random->next();
}

Inside::Inside(Context& context, std::string_view name, i64 number)
    : context_(context), before_(context.path.size()), name_(context.path) {
  context.path.append(name).append(".");
  if (number >= 0) context.path.append(std::to_string(number)).append(".");
}
Inside::~Inside() { context_.path.resize(before_); }

}  // namespace moegrad

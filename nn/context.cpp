#include "nn/context.h"

#include <fmt/format.h>

#include <limits>

#include "ops/arithmetic.h"
#include "ops/random.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {

void Context::add_loss(const std::string& name, const Tensor& value) {
  if (value.rank() != 0)
    throw ShapeError(fmt::format("context: an auxiliary loss must be a scalar; got {} {} from {}", name,
                                 to_string(value.shape()), path));
  Tensor& sum = losses[name];
  sum = sum ? sum + value : value;
}

void Context::record(const std::string& name, const Tensor& value) { records.push_back({path + name, value.detach()}); }

const Routing& Context::routed(const Routing& routing) const {
  if (watch) watch->routed(*this, routing);
  return routing;
}

Draw Context::draw() {
  if (!random)
    throw Error(fmt::format("context: {} needs random numbers; set Context::random to a Random",
                            path.empty() ? "the layer" : fmt::format("layer '{}'", path)));
  return random->next();
}

Tensor gumbel_of_uniform(const Tensor& u) {
  constexpr double kLeast = 1e-20, kMost = std::numeric_limits<double>::infinity();
  return neg(log(clamp(neg(log(clamp(u, kLeast, kMost))), kLeast, kMost)));
}

Tensor Context::noise(Noise kind, const Shape& shape, DType dtype) {
  if (replayed.used < replayed.tensors.size()) {
    const Tensor& y = replayed.tensors[replayed.used++];
    if (y.shape() != shape)
      throw ShapeError(fmt::format("context: replayed noise {} must be {}; got {}", replayed.used - 1, to_string(shape),
                                   to_string(y.shape())));
    if (y.dtype() != dtype) throw_dtype("context", fmt::format("{} (replayed noise)", name(dtype)).c_str(), y.dtype());
    return y.detach();
  }
  switch (kind) {
    case Noise::uniform: return random_uniform(shape, 0, 1, draw(), dtype);
    case Noise::normal: return random_normal(shape, 0, 1, draw(), dtype);
    case Noise::gumbel: break;
  }
  return gumbel_of_uniform(random_uniform(shape, 0, 1, draw(), dtype));
}

Tensor Context::mask_of(const char* who, const Shape& rows) const {
  if (!mask) return {};
  if (mask.dtype() != DType::boolean) throw_dtype(who, "bool (the context's mask)", mask.dtype());
  if (mask.size() != rows.elements())
    throw ShapeError(fmt::format("{}: the context's mask must have one element for each of {}; got {}", who,
                                 to_string(rows), to_string(mask.shape())));
  return reshape(mask, rows);
}

Inside::Inside(Context& context, std::string_view name, i64 number)
    : context_(context), before_(context.path.size()), name_(context.path) {
  if (!name.empty()) context.path.append(name).append(".");
  if (number >= 0) context.path.append(std::to_string(number)).append(".");
}
Inside::~Inside() { context_.path.resize(before_); }

}  // namespace moegrad

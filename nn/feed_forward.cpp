#include "nn/feed_forward.h"

#include <fmt/format.h>

#include <iterator>
#include <string>

#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/unary.h"

namespace moegrad {

namespace {

// In the order of the enumeration. A gated one has a formula of two tensors; others have one where it is faster than
// of_one(gate) up.
struct Formula {
  const char* name;
  Tensor (*of_one)(const Tensor& x);
  Tensor (*of_two)(const Tensor& gate, const Tensor& up) = nullptr;
};
const Formula kFormulas[] = {
    {"relu", relu},
    {"gelu", [](const Tensor& x) { return gelu(x); }, geglu},
    {"silu", silu, swiglu},
    {"tanh", tanh},
    {"sigmoid", sigmoid},
    {"softplus", [](const Tensor& x) { return softplus(x); }},
    {"elu", [](const Tensor& x) { return elu(x); }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x); }},
    {"mish", mish},
    {"swiglu", nullptr, swiglu},
    {"geglu", nullptr, geglu},
    {"reglu", nullptr, [](const Tensor& gate, const Tensor& up) { return relu(gate) * up; }},
    {"glu", nullptr, [](const Tensor& gate, const Tensor& up) { return sigmoid(gate) * up; }},
    {"bilinear", nullptr, [](const Tensor& gate, const Tensor& up) { return gate * up; }},
};
static_assert(std::size(kFormulas) == static_cast<std::size_t>(Activation::bilinear) + 1);

const Formula& formula_of(Activation a) { return kFormulas[static_cast<std::size_t>(a)]; }

}  // namespace

Activation activation_by_name(std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < std::size(kFormulas); ++i) {
    if (name == kFormulas[i].name) return static_cast<Activation>(i);
    known += fmt::format("{}{}", i == 0 ? "" : ", ", kFormulas[i].name);
  }
  throw Error(fmt::format("activation: must be one of {}; got {}", known, name));
}

Tensor apply(Activation a, const Tensor& x) {
  const Formula& f = formula_of(a);
  if (!f.of_one) throw Error(fmt::format("activation: {} needs a gate and a value; got one tensor", f.name));
  return f.of_one(x);
}

Tensor apply(Activation a, const Tensor& gate, const Tensor& up) {
  const Formula& f = formula_of(a);
  return f.of_two ? f.of_two(gate, up) : f.of_one(gate) * up;
}

FeedForward::FeedForward(i64 width, Options o, Init& init)
    : activation(o.activation),
      w1(width, o.hidden > 0 ? o.hidden : 4 * width, init, {.bias = o.bias}),
      w2(o.hidden > 0 ? o.hidden : 4 * width, width, init,
         {.bias = o.bias, .gain = Linear::Options{}.gain * o.output_gain}),
      output_dropout(o.dropout) {
  if (is_gated(activation))
    w3 = std::make_unique<Linear>(width, o.hidden > 0 ? o.hidden : 4 * width, init, Linear::Options{.bias = o.bias});
}

Tensor FeedForward::forward(const Tensor& x, Context& context) const {
  const Tensor hidden = w3 ? apply(activation, w1.forward(x), w3->forward(x)) : apply(activation, w1.forward(x));
  return output_dropout.forward(w2.forward(hidden), context);
}

void FeedForward::members(Members& m) {
  m.child("w1", w1);
  m.child("w2", w2);
  if (w3) m.child("w3", *w3);
}

}  // namespace moegrad

#include "nn/feed_forward.h"

#include <fmt/format.h>

#include "ops/activation.h"
#include "ops/arithmetic.h"

namespace moegrad {

Activation activation_by_name(std::string_view name) {
  constexpr std::pair<const char*, Activation> kNames[] = {{"relu", Activation::relu},   {"gelu", Activation::gelu},
                                                           {"silu", Activation::silu},   {"swiglu", Activation::swiglu},
                                                           {"geglu", Activation::geglu}, {"reglu", Activation::reglu}};
  for (const auto& [known, activation] : kNames)
    if (name == known) return activation;
  throw Error(fmt::format("activation: must be relu, gelu, silu, swiglu, geglu or reglu; got {}", name));
}

Tensor apply(Activation a, const Tensor& x) {
  switch (a) {
    case Activation::relu: return relu(x);
    case Activation::gelu: return gelu(x);
    case Activation::silu: return silu(x);
    case Activation::swiglu:
    case Activation::geglu:
    case Activation::reglu: break;
  }
  throw Error("activation: swiglu, geglu and reglu need a gate and a value; got one tensor");
}

Tensor apply(Activation a, const Tensor& gate, const Tensor& up) {
  switch (a) {
    case Activation::swiglu: return swiglu(gate, up);
    case Activation::geglu: return geglu(gate, up);
    case Activation::reglu: return relu(gate) * up;
    case Activation::relu:
    case Activation::gelu:
    case Activation::silu: break;
  }
  throw Error("activation: relu, gelu and silu take one tensor; got a gate and a value");
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

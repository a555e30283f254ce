// The feed-forward layer of a transformer block.
#pragma once
#include <string_view>

#include "nn/dropout.h"
#include "nn/linear.h"

namespace moegrad {

/// The function between two products; from swiglu on it is gated: a value is multiplied by a function of a gate.
enum class Activation {
  relu,
  gelu,
  silu,
  tanh,
  sigmoid,
  softplus,
  elu,
  leaky_relu,
  mish,
  swiglu,
  geglu,
  reglu,
  glu,
  bilinear  // of arXiv:2002.05202: silu, gelu, relu, sigmoid of the gate, and the gate itself
};
/// The activation of that name. Throws Error: there is none.
Activation activation_by_name(std::string_view name);
constexpr bool is_gated(Activation a) { return a >= Activation::swiglu; }
/// a(x) for an activation that is not gated.
Tensor apply(Activation a, const Tensor& x);
/// a(gate) up, with the function of the gate that a gated one has; an activation of one tensor is that function itself.
Tensor apply(Activation a, const Tensor& gate, const Tensor& up);

/// y = w2(a(w1(x))), or y = w2(a(w1(x)) * w3(x)) with a gated activation; then dropout in training.
///   Shapes   x [.., D] -> y [.., D].  w1, w3 [F, D], w2 [D, F], names as in Llama and Mixtral
///   Source   Attention is all you need (2017), arXiv:1706.03762, equation 2; GLU variants improve transformer (2020),
///            arXiv:2002.05202
struct FeedForward : Layer {
  struct Options {
    i64 hidden = 0;  ///< F; 0: 4 D
    Activation activation = Activation::gelu;
    bool bias = true;
    double dropout = 0;
    double output_gain = 1.0;  ///< of w2's initial weights, beside Linear's
  };
  FeedForward(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Activation activation;
  Linear w1, w2;
  std::unique_ptr<Linear> w3;  // gated activations only
  Dropout output_dropout;
};

}  // namespace moegrad

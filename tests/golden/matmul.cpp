// Products, einsum, convolution, attention.
#include "ops/matmul.h"

#include "ops/attention.h"
#include "ops/einsum.h"
#include "ops/views.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Tensor attend(Inputs& x, const Tensor& mask, Arguments& a) {
  AttentionOptions options{.causal = a.flag("is_causal", false), .mask = mask};
  if (a.has("scale")) options.scale = a.number("scale");
  return attention(x[0], x[1], x[2], options);
}

}  // namespace

Ops matmul_ops() {
  return {{"bmm", of_two(matmul)},
          {"einsum", [](Inputs& x, Arguments& a) { return einsum(a.text("equation"), x.all()); }},
          {"linear", [](Inputs& x, Arguments&) { return linear(x[0], x[1], x.maybe(2)); }},
          {"matmul", of_two(matmul)},
          {"matmul_transposed", [](Inputs& x, Arguments&) { return matmul(x[0], transpose(x[1])); }},
          {"sdpa", [](Inputs& x, Arguments& a) { return attend(x, {}, a); }},
          {"sdpa_mask", [](Inputs& x, Arguments& a) { return attend(x, x[3], a); }}};
}

}  // namespace moegrad::golden

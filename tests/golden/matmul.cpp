// Products, einsum, convolution, attention.
#include "ops/matmul.h"

#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/einsum.h"
#include "ops/pad.h"
#include "ops/pool2d.h"
#include "ops/products.h"
#include "ops/views.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Size2 size2(Arguments& a, const std::string& key, i64 otherwise) {
  const auto [rows, columns] = a.pair(key, {otherwise, otherwise});
  return {rows, columns};
}
std::optional<Size2> maybe_size2(Arguments& a, const std::string& key) {
  return a.has(key) ? std::optional(size2(a, key, 1)) : std::nullopt;
}

Tensor attend(Inputs& x, AttentionOptions options, Arguments& a) {
  if (a.has("scale")) options.scale = a.number("scale");
  if (a.number("dropout_p", 0) != 0) throw CaseError("dropout_p: the file does not say what was dropped");
  // The file counts the keys that a query may see from the first one on, moegrad from the last: alike for as many
  // queries as keys.
  if (a.flag("is_causal", false)) {
    if (x[0].dim(-2) == x[1].dim(-2))
      options.causal = true;
    else
      options.mask = tril(ones({x[0].dim(-2), x[1].dim(-2)}, DType::boolean));
  }
  return attention(x[0], x[1], x[2], options);
}

// x [B, S, D]; one projection gives queries, keys and values, read as (3, heads, head width).
Tensor self_attention(Inputs& x, Arguments& a) {
  const i64 heads = a.integer("num_heads"), B = x[0].dim(0), S = x[0].dim(1), D = x[0].dim(2);
  const Tensor qkv = reshape(linear(x[0], x[1], x.maybe(2)), {B, S, 3, heads, D / heads});
  const Tensor split = permute(qkv, {2, 0, 3, 1, 4});  // [3, B, H, S, D / H]
  const Tensor y = attention(split[0], split[1], split[2]);
  return linear(reshape(permute(y, {0, 2, 1, 3}), {B, S, D}), x[3], x.maybe(4));
}

Ops images() {
  return {
      {"avg_pool2d",
       [](Inputs& x, Arguments& a) {
         AvgPoolOptions options{.stride = maybe_size2(a, "stride"),
                                .padding = size2(a, "padding", 0),
                                .ceil = a.flag("ceil_mode", false),
                                .count_padding = a.flag("count_include_pad", true)};
         if (a.has("divisor_override")) options.divisor = a.integer("divisor_override");
         return avg_pool2d(x[0], size2(a, "kernel", 1), options);
       }},
      {"conv2d",
       [](Inputs& x, Arguments& a) {
         return conv2d(x[0], x[1], x.maybe(2),
                       {.stride = size2(a, "stride", 1),
                        .padding = size2(a, "padding", 0),
                        .dilation = size2(a, "dilation", 1),
                        .groups = a.integer("groups", 1)});
       }},
      {"max_pool2d",
       [](Inputs& x, Arguments& a) {
         return max_pool2d(x[0], size2(a, "kernel", 1),
                           {.stride = maybe_size2(a, "stride"),
                            .padding = size2(a, "padding", 0),
                            .dilation = size2(a, "dilation", 1),
                            .ceil = a.flag("ceil_mode", false)});
       }},
      {"unfold_patches",
       [](Inputs& x, Arguments& a) {
         return unfold(
             x[0], size2(a, "kernel", 1),
             {.stride = size2(a, "stride", 1), .padding = size2(a, "padding", 0), .dilation = size2(a, "dilation", 1)});
       }},
      {"patch_embed", [](Inputs& x, Arguments& a) {
         if (const auto [k, l] = a.pair("patch", {x[1].dim(2), x[1].dim(3)}); k != x[1].dim(2) || l != x[1].dim(3))
           throw CaseError("the argument 'patch' is not the size of the weight");
         return patch_embed(x[0], x[1], x.maybe(2));
       }}};
}

Ops products() {
  return {{"addmm",
           [](Inputs& x, Arguments& a) { return addmm(x[0], x[1], x[2], a.number("beta", 1), a.number("alpha", 1)); }},
          {"bilinear", [](Inputs& x, Arguments&) { return bilinear(x[0], x[1], x[2], x.maybe(3)); }},
          {"bmm", of_two(matmul)},
          {"einsum", [](Inputs& x, Arguments& a) { return einsum(a.text("equation"), x.all()); }},
          {"linear", [](Inputs& x, Arguments&) { return linear(x[0], x[1], x.maybe(2)); }},
          {"matmul", of_two(matmul)},
          {"matmul_transposed", [](Inputs& x, Arguments&) { return matmul(x[0], transpose(x[1])); }},
          {"outer", of_two(outer)}};
}

Ops attentions() {
  return {{"multihead_self_attention", self_attention},
          {"sdpa", [](Inputs& x, Arguments& a) { return attend(x, {}, a); }},
          {"sdpa_bias", [](Inputs& x, Arguments& a) { return attend(x, {.bias = x[3]}, a); }},
          {"sdpa_mask", [](Inputs& x, Arguments& a) { return attend(x, {.mask = x[3]}, a); }}};
}

}  // namespace

Ops matmul_ops() {
  Ops all = products();
  all.merge(images());
  all.merge(attentions());
  return all;
}

}  // namespace moegrad::golden

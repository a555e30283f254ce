// Functions of one number, arithmetic with broadcasting, comparisons, choices.
#include <cmath>

#include "ops/activation.h"
#include "ops/binary.h"
#include "ops/compare.h"
#include "ops/softmax.h"
#include "ops/unary.h"
#include "ops/where.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Ops functions() {
  return {{"abs", of_one(abs)},
          {"ceil", of_one(ceil)},
          {"cos", of_one(cos)},
          {"elu", [](Inputs& x, Arguments& a) { return elu(x[0], a.number("alpha", 1)); }},
          {"erf", of_one(erf)},
          {"erfc", of_one(erfc)},
          {"exp", of_one(exp)},
          {"expm1", of_one(expm1)},
          {"floor", of_one(floor)},
          {"gelu_erf", of_one(gelu)},
          {"gelu_tanh", of_one(gelu_tanh)},
          {"leaky_relu", [](Inputs& x, Arguments& a) { return leaky_relu(x[0], a.number("negative_slope", 0.01)); }},
          {"log", of_one(log)},
          {"log1p", of_one(log1p)},
          {"logsigmoid", of_one(log_sigmoid)},
          {"mish", of_one(mish)},
          {"neg", of_one(neg)},
          {"reciprocal", of_one(reciprocal)},
          {"relu", of_one(relu)},
          {"round", of_one(round)},
          {"rsqrt", of_one(rsqrt)},
          {"sigmoid", of_one(sigmoid)},
          {"sign", of_one(sign)},
          {"silu", of_one(silu)},
          {"sin", of_one(sin)},
          {"softplus",
           [](Inputs& x, Arguments& a) { return softplus(x[0], a.number("beta", 1), a.number("threshold", 20)); }},
          {"softsign", of_one(softsign)},
          {"sqrt", of_one(sqrt)},
          {"square", of_one(square)},
          {"tanh", of_one(tanh)}};
}

// torch.add and torch.sub multiply their second operand by `alpha`.
Op with_alpha(Tensor (*op)(const Tensor&, const Tensor&)) {
  return [op](Inputs& x, Arguments& a) {
    const double alpha = a.number("alpha", 1);
    return op(x[0], alpha == 1 ? x[1] : x[1] * alpha);
  };
}

Outputs divide(Inputs& x, Arguments& a) {
  if (!a.has("rounding_mode")) return div(x[0], x[1]);
  if (a.text("rounding_mode") != "floor") throw CaseError("div: rounding_mode must be floor or null");
  return floor_divide(x[0], x[1]);
}

Ops arithmetic() {
  return {{"add", with_alpha(add)},
          {"add_scalar", [](Inputs& x, Arguments& a) { return x[0] + a.number("value"); }},
          {"addcmul", [](Inputs& x, Arguments& a) { return addcmul(x[0], x[1], x[2], a.number("value", 1)); }},
          {"atan2", of_two(atan2)},
          {"div", divide},
          {"div_scalar", [](Inputs& x, Arguments& a) { return x[0] / a.number("value"); }},
          {"lerp",
           [](Inputs& x, Arguments& a) {
             return x.count() > 2 ? lerp(x[0], x[1], x[2]) : lerp(x[0], x[1], a.number("weight"));
           }},
          {"logaddexp", of_two(logaddexp)},
          {"maximum", of_two(maximum)},
          {"minimum", of_two(minimum)},
          {"mul", of_two(mul)},
          {"mul_scalar", [](Inputs& x, Arguments& a) { return x[0] * a.number("value"); }},
          {"pow", of_two(pow)},
          {"scalar_pow", [](Inputs& x, Arguments& a) { return pow(a.number("base"), x[0]); }},
          {"pow_scalar", [](Inputs& x, Arguments& a) { return pow(x[0], a.number("exponent")); }},
          {"rdiv_scalar", [](Inputs& x, Arguments& a) { return a.number("value") / x[0]; }},
          {"rsub_scalar", [](Inputs& x, Arguments& a) { return a.number("value") - x[0]; }},
          {"sub", with_alpha(sub)},
          {"sub_scalar", [](Inputs& x, Arguments& a) { return x[0] - a.number("value"); }}};
}

Ops choices() {
  return {
      {"clamp",
       [](Inputs& x, Arguments& a) { return clamp(x[0], a.number("min", -INFINITY), a.number("max", INFINITY)); }},
      {"eq", of_two(eq)},
      {"ge", of_two(ge)},
      {"gt", of_two(gt)},
      {"le", of_two(le)},
      {"logical_and", of_two(logical_and)},
      {"logical_not", of_one(logical_not)},
      {"logical_or", of_two(logical_or)},
      {"logical_xor", of_two(logical_xor)},
      {"lt", of_two(lt)},
      {"masked_fill", [](Inputs& x, Arguments& a) { return masked_fill(x[0], x[1], a.number("value")); }},
      {"masked_fill_softmax",
       [](Inputs& x, Arguments& a) { return softmax(masked_fill(x[0], x[1], a.number("value")), a.axis("dim", -1)); }},
      {"ne", of_two(ne)},
      {"where", [](Inputs& x, Arguments&) { return where(x[0], x[1], x[2]); }}};
}

}  // namespace

Ops elementwise_ops() {
  Ops all = functions();
  all.merge(arithmetic());
  all.merge(choices());
  return all;
}

}  // namespace moegrad::golden

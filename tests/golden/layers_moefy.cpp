// Layers of moefy.
#include "core/autograd.h"
#include "nn/moe/k_subset.h"
#include "ops/autodiff/derivatives.h"
#include "ops/ops.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

// ---- samplers: a function of logits

// The table as the file has it: a first column of "-1 ones", and -1e300 for what cannot be.
Tensor stored_table(const Tensor& logits, i64 k) {
  const Tensor table = log_pr_table(logits, k).detach();
  Shape column = table.shape();
  column[column.rank() - 1] = 1;
  const Tensor all = concat({full(column, -0x1p120, table.dtype()), table}, -1);
  return masked_fill(all, lt(all, scalar(-0x1p110, table.dtype())), -1e300);
}

LayerRun samplers(LayerFile& file) {
  const Tensor logits = file.inputs.at("logits"), uniform = file.inputs.at("uniform"), dy = file.cotangents.at("y");
  const i64 k = file.config.integer("k");
  if (logits.shape() != Shape{file.config.integer("B"), file.config.integer("n")})
    throw CaseError("the logits are not [B, n]");
  const Tensor x = logits.detach().requires_grad_();
  const Tensor log_pr = log_pr_exactly(x, k), marginals = k_subset_marginals(x, k);
  const Tensor slope = grad(sum(log_pr), {x}, {.create_graph = true})[0];
  const Tensor hessian = grad(sum(slope * dy), {x})[0];
  LayerRun run;
  run.outputs = {{"log_pr_k", log_pr},
                 {"log_pr_table", stored_table(logits, k)},
                 {"marginals", marginals},
                 {"sample", sample_k_subset(logits, k, uniform)},
                 {"hessian_log_pr_k_times_cotangent", hessian},
                 {"code_backward_f32", hessian}};
  run.gradients = {{"logits_of_log_pr_k", slope}, {"logits_of_marginals", grad(sum(marginals * dy), {x})[0]}};
  return run;
}

}  // namespace

Layers moefy_layers() { return {{"moefy samplers (SIMPLE)", samplers}}; }

}  // namespace moegrad::golden

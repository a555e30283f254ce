#include "ops/attention_twin.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/arithmetic.h"
#include "ops/compare.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "ops/views.h"
#include "ops/where.h"

namespace moegrad {
namespace {

// Which scores count, bool [.., S, T] or broadcasting to it, of rank 1 at least; an empty handle: all.
Tensor allowed(const Tensor& q, const Tensor& k, const AttentionOptions& options) {
  if (!options.causal) return options.mask && options.mask.rank() == 0 ? unsqueeze(options.mask, 0) : options.mask;
  const i64 queries = q.dim(-2), keys = k.dim(-2);
  const Tensor last =
      arange(0, static_cast<double>(queries), 1, DType::i64, q.device()) + static_cast<double>(keys - queries);
  const Tensor causal = le(arange(0, static_cast<double>(keys), 1, DType::i64, q.device()), unsqueeze(last, 1));
  return options.mask ? logical_and(causal, options.mask) : causal;
}

}  // namespace

// A row that sees nothing keeps its scores, lest they become NaN, and loses its probabilities.
Tensor attention_twin(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(std::max<i64>(q.dim(-1), 1))));
  Tensor p = matmul(q, transpose(k)) * scale;
  if (options.bias) p = p + options.bias;
  const Tensor rule = allowed(q, k, options);
  if (k.dim(-2) > 0 && !rule) p = softmax(p, -1);
  if (k.dim(-2) > 0 && rule) {
    const Tensor some = any(rule, -1, keep_dims);
    p = masked_fill(p, logical_and(logical_not(rule), some), -std::numeric_limits<double>::infinity());
    p = masked_fill(softmax(p, -1), logical_not(some), 0);
  }
  return matmul(transpose(dropout(transpose(p), options.dropout, options.draw)), v);
}

}  // namespace moegrad

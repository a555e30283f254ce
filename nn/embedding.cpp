#include "nn/embedding.h"

#include "ops/gather.h"

namespace moegrad {

Embedding::Embedding(i64 count, i64 width, Init& init, double deviation)
    : weight(init.normal({count, width}, deviation)) {}

Tensor Embedding::forward(const Tensor& index) const { return embedding(weight, index); }

}  // namespace moegrad

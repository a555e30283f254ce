// Dropout and gated pairs: in packs and one by one, with the bits of the CPU where nothing but products is computed.
#include "ops/dropout.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/random.h"
#include "ops/activation.h"
#include "ops/slice.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("cuda: dropout drops the elements that the CPU drops") {
  if (!on_cuda()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (const i64 n : {0, 1, 3, 33, 1025, 5000}) {
      const Tensor x = random_tensor({n + 1}, 3, -1, 1, dtype).to(Device::cpu);
      const Draw a = Random(5, Device::cpu).next(), b = Random(5, Device::cuda).next();
      INFO(n << " " << name(dtype));
      for (const i64 first : {0, 1}) {  // aligned, and not
        const Tensor on_cpu = slice(x, 0, {first, n + first}),
                     on_gpu = slice(x.to(Device::cuda), 0, {first, n + first});
        CHECK(dropout(on_gpu, 0.3, b).to_vector<double>() == dropout(on_cpu, 0.3, a).to_vector<double>());
      }
    }
}

TEST_CASE("cuda: gradients of gated pairs, dense and as slices of one tensor") {
  if (!on_cuda()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (const i64 n : {1, 16, 33, 1024}) {
      const Tensor both = random_tensor({3, 2 * n}, 4, -3, 3, dtype).to(Device::cpu);
      for (const bool sliced : {false, true}) {
        std::vector<std::vector<Tensor>> grads;
        for (const Device device : {Device::cpu, Device::cuda}) {
          const Tensor x = both.to(device);
          Tensor gate = slice(x, 1, {0, n}), up = slice(x, 1, {n, 2 * n});
          if (!sliced) gate = slice(x, 1, {0, 2 * n}), up = slice(x, 1, {0, 2 * n});
          gate = gate.detach(), up = up.detach();
          gate.requires_grad_(), up.requires_grad_();
          grads.push_back({});
          for (auto* op : {&swiglu, &geglu})
            for (const Tensor& g : grad(op(gate, up), {gate, up}, ones_like(gate)))
              grads.back().push_back(g.to(Device::cpu));
        }
        INFO(n << " " << name(dtype) << " sliced " << sliced);
        for (std::size_t i = 0; i < grads[0].size(); ++i)  // a GPU may contract products and sums where a CPU does not
          CHECK(difference(grads[1][i], grads[0][i]) <= (dtype == DType::f64   ? 1e-14
                                                         : dtype == DType::f32 ? 1e-6
                                                                               : 0x1p-8));
      }
    }
}

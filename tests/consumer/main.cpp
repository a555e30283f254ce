// A stranger's program: fits y = 3 x - 1 by gradient descent.
#include <cmath>
#include <cstdio>

#include "nn/moegrad.h"

int main() {
  using namespace moegrad;
  Random random(1);
  Init init(random);
  Linear line(1, 1, init);
  AdamW optimizer(decay_matrices(line, 0), {.lr = 0.1});
  const Tensor x = reshape(linspace(-1, 1, 21), {21, 1}), y = 3 * x - 1;
  double loss = 0;
  for (int step = 0; step < 300; ++step) {
    const Tensor error = mean(square(line.forward(x) - y));
    error.backward();
    optimizer.step();
    optimizer.zero_grad();
    loss = error.item();
  }
  const double slope = line.weight.item(), offset = line.bias.item();
  std::printf("moegrad %s, with%s CUDA: y = %.3f x %+.3f, loss %.1e\n", kVersion, kWithCuda ? "" : "out", slope, offset,
              loss);
  return std::abs(slope - 3) < 0.01 && std::abs(offset + 1) < 0.01 ? 0 : 1;
}

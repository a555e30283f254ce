// Mixtures on the GPU: forward and backward of a layer beside the rate of this GPU's matrix products at the layer's own
// shapes, in one run. Prints lines `name value unit`, which tests/benchmarks/gpu_compare.py makes a table of.
//
//   bench_gpu_moe [--small] [--only TEXT]    --small: tiny sizes, to see that it works
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>

#include "core/cuda.h"
#include "core/device.h"
#include "core/graph.h"
#include "nn/moegrad.h"
#include "tests/benchmarks/gpu_timing.h"

using namespace moegrad;
using namespace benchmarks;

namespace {

std::string only;
bool small = false, failed = false;

double milliseconds(const std::function<void()>& run) { return 1e3 * median_seconds(run, small); }

// ---- the device

Tensor normal(const Shape& shape, DType dtype) {
  static Random random(1);
  return random_normal(shape, 0, 0.02, random.next(), dtype);
}

double tera(double flops, double ms) { return flops / ms * 1e-9; }

void measure_device() {
  const i64 n = small ? 64 : 8192;
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const Tensor a = normal({n, n}, dtype), b = normal({n, n}, dtype);
    const double ms = milliseconds([&] { matmul(a, b); });
    report(fmt::format("gemm.{}.{}", name(dtype), n), tera(2.0 * static_cast<double>(n * n * n), ms), "TFLOP/s");
  }
  const Tensor x = zeros({small ? 1024 : i64{1} << 29}, DType::f32);  // 2 GB
  const Tensor y = empty_like(x);
  const i64 bytes = 4 * x.size();
  const double ms = milliseconds([&] { cuda::copy_on_device(y.data<float>(), x.data<float>(), bytes); });
  report("copy", 2 * static_cast<double>(bytes) / ms * 1e-6, "GB/s");
}

// ---- layers

struct Sizes {
  i64 groups, tokens, width, hidden, experts;  // tokens of a group
};

/// A layer with its input, and the slots of all experts together that it computes.
struct Subject {
  std::string name;
  DType dtype;
  Sizes sizes;
  double slots;  // rows that the experts' products need
  std::unique_ptr<Layer> layer;
};

/// The products of the experts, forward and twice backward, on a batch of `slots` rows for each expert.
struct Products {
  Products(const Sizes& s, double slots, DType dtype) {
    const i64 rows = std::max<i64>(1, static_cast<i64>(slots) / s.experts);
    x = normal({s.experts, rows, s.width}, dtype), h = normal({s.experts, rows, s.hidden}, dtype);
    w1 = normal({s.experts, s.width, s.hidden}, dtype), w2 = normal({s.experts, s.hidden, s.width}, dtype);
    flops = 12.0 * static_cast<double>(rows * s.experts) * static_cast<double>(s.width * s.hidden);
  }
  void run() const {
    matmul(x, w1), matmul(h, w2);
    matmul(h, transpose(w1)), matmul(x, transpose(w2));
    matmul(transpose(x), h), matmul(transpose(h), x);
  }
  Tensor x, h, w1, w2;
  double flops;
};

void measure(Subject& s) {
  const std::string name_of = fmt::format("{}.{}", s.name, name(s.dtype));
  if (name_of.find(only) == std::string::npos) return;
  const Tensor x = normal({s.sizes.groups, s.sizes.tokens, s.sizes.width}, s.dtype).requires_grad_();
  const Tensor dy = normal(x.shape(), s.dtype);
  std::vector<Tensor> leaves{x};
  for (const Tensor& p : s.layer->parameters()) leaves.push_back(p);
  std::vector<Tensor> gradients;
  const auto step = [&] {
    Context context;
    const Tensor y = s.layer->forward(x, context);
    std::vector<Tensor> ys{y}, dys{dy};
    for (const auto& [loss, value] : context.losses) {
      ys.push_back(value);
      dys.push_back(full({}, 0.01, value.dtype()));
    }
    gradients = grad(ys, leaves, dys);
  };
  const double flops =
      12.0 * s.slots * static_cast<double>(s.sizes.width) * static_cast<double>(s.sizes.hidden);  // 2 x 2, three times
  double rate = 0;
  {
    const Products products(s.sizes, s.slots, s.dtype);
    rate = tera(products.flops, milliseconds([&] { products.run(); }));
    report(name_of + ".products", rate, "TFLOP/s");
  }
  const auto result = [&](const char* how, double ms) {
    report(fmt::format("{}.{}.time", name_of, how), ms, "ms");
    report(fmt::format("{}.{}.rate", name_of, how), tera(flops, ms), "TFLOP/s");
    report(fmt::format("{}.{}.fraction", name_of, how), tera(flops, ms) / rate, "of-products");
  };
  cuda::reset_peak();
  const i64 waited = cuda::synchronizations();
  step();
  report(name_of + ".waits", static_cast<double>(cuda::synchronizations() - waited), "per-step");
  result("eager", milliseconds(step));
  report(name_of + ".peak", static_cast<double>(cuda::memory_stats().peak_bytes) * 1e-9, "GB");
  gradients.clear();
  try {
    const Graph graph = Graph::capture(step);
    result("graph", milliseconds([&] { graph.replay(); }));
  } catch (const std::exception& e) {
    fmt::print("# {} in a graph: {}\n", name_of, e.what());
  }
  report(name_of + ".slots", s.slots, "rows");
}

std::unique_ptr<Experts> experts_of(const Sizes& s, Init& init) {
  return std::make_unique<FeedForwardExperts>(
      s.width, FeedForwardExperts::Options{.experts = s.experts, .hidden = s.hidden}, init);
}

std::unique_ptr<Layer> top_2(const Sizes& s, double capacity, Init& init) {
  return std::make_unique<MoE>(
      std::make_unique<TopKRouter>(
          s.width, TopKRouter::Options{.experts = s.experts, .k = 2, .capacity = {.factor = capacity}}, init),
      experts_of(s, init));
}

std::unique_ptr<Layer> expert_choice(const Sizes& s, Init& init) {
  return std::make_unique<MoE>(
      std::make_unique<ExpertChoiceRouter>(s.width, ExpertChoiceRouter::Options{.experts = s.experts}, init),
      experts_of(s, init));
}

std::unique_ptr<Layer> soft(const Sizes& s, Init& init) {
  return std::make_unique<SoftMoE>(
      s.width,
      SoftMoE::Options{.num_experts = s.experts,
                       .seq_len = s.tokens,
                       .expert_mult = static_cast<double>(s.hidden) / static_cast<double>(s.width)},
      init);
}

std::unique_ptr<Layer> depths(const Sizes& s, Init& init) {
  return std::make_unique<MoDLayer>(
      s.width, std::make_unique<FeedForward>(s.width, FeedForward::Options{.hidden = s.hidden}, init),
      MoDLayer::Options{}, init);
}

/// One layer after another, so that only one is in memory.
void measure_layers(DType dtype) {
  const Sizes large = small ? Sizes{1, 64, 16, 32, 4} : Sizes{1, 16384, 2048, 8192, 8};
  const Sizes many = small ? Sizes{2, 32, 16, 32, 4} : Sizes{16, 1024, 512, 2048, 16};
  Sizes one = many;  // the block of mixture of depths: one expert
  one.experts = 1;
  const double tokens = static_cast<double>(many.groups * many.tokens), all = static_cast<double>(large.tokens);
  Random random(2);
  Init init(random, dtype);
  const auto run = [&](const char* name_of, const Sizes& s, double slots, auto make) {
    if (fmt::format("{}.{}", name_of, name(dtype)).find(only) == std::string::npos) return;
    Subject subject{name_of, dtype, s, slots, make()};
    try {
      measure(subject);
    } catch (const std::exception& e) {  // the others go on
      fmt::print("{}.{} failed {}\n", name_of, name(dtype), e.what());
      std::fflush(stdout);
      failed = true;
    }
    cuda::release_cache();
  };
  run("capacity", large, 2.5 * all, [&] { return top_2(large, 1.25, init); });
  run("dropless", large, 2 * all, [&] { return top_2(large, 0, init); });
  run("choice", many, 2 * tokens, [&] { return expert_choice(many, init); });
  run("soft", many, tokens, [&] { return soft(many, init); });
  run("depths", one, tokens / 8, [&] { return depths(many, init); });
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0) {
      small = true;
    } else if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else {
      fmt::print(stderr, "bench_gpu_moe: unknown option {}\n", argv[i]);
      return 2;
    }
  }
  try {
    set_default_device(Device::cuda);
    fmt::print("# {}\n", cuda::device_name());
    if (only.empty()) measure_device();
    for (const DType dtype : {DType::bf16, DType::f32}) measure_layers(dtype);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_gpu_moe: {}\n", e.what());
    return 1;
  }
  return failed ? 1 : 0;
}

// Captured training steps: a replay is the eager step, bit for bit, and no step waits for the GPU.
#include "core/graph.h"

#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "nn/moegrad.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;
using Doubles = std::vector<double>;

namespace {

constexpr i64 kWidth = 16, kBlock = 8;
using MakeLayer = std::unique_ptr<Layer> (*)(double gain, Init& init);

std::unique_ptr<Layer> dense(double gain, Init& init) {
  return std::make_unique<FeedForward>(kWidth, FeedForward::Options{.hidden = 24, .dropout = 0.1, .output_gain = gain},
                                       init);
}
std::unique_ptr<Layer> top_k_mixture(double gain, Init& init) {
  return make_moe(
      kWidth,
      {.experts = 4, .k = 2, .capacity_factor = 1.25, .hidden = 16, .bias = true, .dropout = 0.1, .output_gain = gain},
      init);
}
std::unique_ptr<Layer> expert_choice(double, Init& init) {
  return std::make_unique<MoE>(
      std::make_unique<ExpertChoiceRouter>(kWidth, ExpertChoiceRouter::Options{.experts = 4}, init),
      std::make_unique<FeedForwardExperts>(kWidth, FeedForwardExperts::Options{.experts = 4, .hidden = 16}, init), 0.1);
}
std::unique_ptr<Layer> soft_mixture(double, Init& init) {
  return std::make_unique<SoftMoE>(
      kWidth, SoftMoE::Options{.num_experts = 2, .num_slots = 2, .expert_mult = 1, .dropout = 0.1}, init);
}

std::vector<i32> numbers() {
  std::vector<i32> text;
  for (int i = 0; i < 200; ++i) text.push_back(i * i % 11);
  return text;
}

// A small training run on the GPU.
struct Run {
  Random random{3};
  Init init{random};
  LanguageModel model;
  AdamW optimizer;
  CosineSchedule schedule{.peak = 0.01, .floor = 0.001, .warmup = 2, .total = 6};
  RandomBatches batches{numbers(), 2, kBlock, 5};
  Batch batch = batches.at(0);
  Tensor loss;
  i64 step = 0;

  explicit Run(MakeLayer make)
      : model(
            {.vocabulary = 11, .context = kBlock, .width = kWidth, .layers = 1, .heads = 2, .dropout = 0.1},
            [&](i64, double gain, Init& i) { return make(gain, i); }, init),
        optimizer(decay_matrices(model, 0.1)) {}

  void learn() {
    random.advance();
    Context context{.training = true, .random = &random};
    loss = cross_entropy(model.forward(batch.inputs, context), batch.targets);
    Tensor total = loss;
    for (const auto& [name, value] : context.losses) total = total + 0.01 * value;
    total.backward();
    optimizer.step(clip_grad_norm(optimizer.parameters(), 1).scale);
    optimizer.zero_grad();
    loss = loss.detach();
  }
  void prepare() {
    batches.next(batch);
    optimizer.set_lr(schedule.lr(step++));
  }
  Doubles values() {
    Doubles all{loss.item(), optimizer.lr()};
    for (const NamedTensor& x : optimizer.state_dict())
      for (const double v : x.tensor.to_vector<double>()) all.push_back(v);
    for (const Tensor& p : model.parameters())
      for (const double v : p.to_vector<double>()) all.push_back(v);
    return all;
  }
};

void check_replays(MakeLayer make) {
  const DeviceScope scope(Device::cuda);
  Run eager(make), replayed(make);
  std::optional<Graph> graph;
  for (int i = 0; i < 6; ++i) {
    CAPTURE(i);
    eager.prepare();
    const i64 before = waits();
    eager.learn();
    CHECK(waits() == before);
    replayed.prepare();
    if (i == 1) graph = Graph::capture([&] { replayed.learn(); });
    if (graph)
      graph->replay();
    else
      replayed.learn();
    const Doubles want = eager.values(), got = replayed.values();
    CHECK(std::isfinite(want[0]));
    CHECK(want[1] == eager.schedule.lr(i));
    CHECK(got == want);
    CHECK(replayed.optimizer.steps() == i + 1);
  }
  CHECK(graph->nodes() > 50);
  CHECK(replayed.random.step() == 6);
  replayed.prepare();  // a step by itself goes on from the replays
  eager.prepare();
  replayed.learn();
  eager.learn();
  CHECK(replayed.values() == eager.values());
}

}  // namespace

TEST_CASE("graph: without a GPU it is an error that says so") {
  if (on_cuda()) return;
  const std::string why = kWithCuda ? "this machine has no usable NVIDIA driver or GPU" : "this build has cpu only";
  CHECK_THROWS_WITH_AS(Graph::capture([] {}),
                       ("graph: the device must be one that can be used here; got cuda, and " + why).c_str(),
                       DeviceError);
}

TEST_CASE("graph: a dense model's replays are its eager steps, bit for bit, and no step waits for the GPU") {
  if (on_cuda()) check_replays(dense);
}
TEST_CASE("graph: so are those of a top-k mixture with capacity") {
  if (on_cuda()) check_replays(top_k_mixture);
}
TEST_CASE("graph: so are those of expert choice") {
  if (on_cuda()) check_replays(expert_choice);
}
TEST_CASE("graph: so are those of a soft mixture") {
  if (on_cuda()) check_replays(soft_mixture);
}

TEST_CASE(
    "graph: masks differ between replays and are those of an eager run; restore reaches the graph; copies do not") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  Random random(7), eager(7);
  const Tensor x = ones({64}), y = empty_like(x);
  const auto mask = [&](Random& r) {
    r.advance();
    y.assign(dropout(x, 0.5, r.next()));
  };
  const Graph graph = Graph::capture([&] { mask(random); });
  CHECK(random.step() == 0);  // recorded, not done
  std::vector<Doubles> seen;
  for (int i = 0; i < 4; ++i) {
    graph.replay();
    seen.push_back(y.to_vector<double>());
    mask(eager);
    CHECK(seen.back() == y.to_vector<double>());
    if (i > 0) CHECK(seen[static_cast<std::size_t>(i)] != seen[static_cast<std::size_t>(i - 1)]);
  }
  Random copy = random;
  random.restore(7, 1, 0);
  graph.replay();
  CHECK(y.to_vector<double>() == seen[1]);
  CHECK((copy.step() == 4 && random.step() == 2));
  copy.advance();
  CHECK((copy.step() == 5 && random.step() == 2));
  random = eager;
  CHECK(random.step() == 4);
  graph.replay();
  CHECK((random.step() == 5 && eager.step() == 4));
}

TEST_CASE("graph: what must not be captured is refused by name, and the GPU goes on as before") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  Run run(dense);
  run.learn();
  const Tensor x = arange(0, 5, 1, DType::f32);
  const i64 before = memory::stats(Device::cuda).current_bytes;
  const auto refused = [&](const char* message, const std::function<void()>& step) {
    CHECK_THROWS_WITH_AS(Graph::capture([&] {
                           const Tensor y = x * 2.0;
                           step();
                         }),
                         doctest::Contains(message), Error);
    CHECK(!cuda::capturing());
    CHECK(sum(x * x).item() == 30);
  };
  refused("copy to the host: it cannot be part of a captured graph", [&] { x[1].item(); });
  refused("copy to the host", [&] { x.to_vector<float>(); });
  refused("copy to the device", [&] { from_vector(std::vector<float>{1, 2}, {2}); });
  refused("copy to the device", [&] { zeros({3}, DType::f32, Device::cpu).to(Device::cuda); });
  refused("nonzero: it cannot be part of a captured graph", [&] { nonzero(x); });
  refused("adamw: the learning rate must be set before", [&] { run.optimizer.set_lr(1); });
  refused("random batches: a batch must be made before", [&] { run.batches.next(run.batch); });
  refused("graph: a graph cannot be captured while another one is", [] { Graph::capture([] {}); });
  refused("add: ", [&] { (void)(x + zeros({7})); });
  CHECK_THROWS_WITH_AS(Graph::capture([] { throw std::runtime_error("mine"); }), "mine", std::runtime_error);
  CHECK(memory::stats(Device::cuda).current_bytes == before);
  run.learn();
  CHECK(std::isfinite(run.loss.item()));
}

TEST_CASE("graph: memory of a step belongs to the graph; tensors may outlive it") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  const Tensor x = full({1000}, 3);
  const i64 before = memory::stats(Device::cuda).current_bytes;
  Tensor kept;
  {
    Tensor old = full({1000}, 5);  // the graph reads it, and the step lets it go
    const Graph graph = Graph::capture([&] {
      kept = x * old;
      old = Tensor();
    });
    const Tensor other = full({1000}, -1);  // must not get the place of old, nor of anything in the step
    const Graph copy = graph;
    copy.replay();
    CHECK(kept.to_vector<double>() == Doubles(1000, 15));
    x.assign(full({1000}, 4));
    graph.replay();
    CHECK(kept[999].item() == 20);
    CHECK(other[0].item() == -1);
  }
  CHECK(kept[0].item() == 20);
  kept = Tensor();
  CHECK(memory::stats(Device::cuda).current_bytes == before);
  const Graph nothing = Graph::capture([] {});
  nothing.replay();
  CHECK(nothing.nodes() == 0);
}

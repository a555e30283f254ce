#include "nn/checkpoint.h"

#include <doctest/doctest.h>

#include "core/atomic_file.h"
#include "nn/linear.h"
#include "nn/safetensors.h"
#include "nn/text_data.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "tests/support/on_cuda.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Net : Module {
  explicit Net(Init& init) : a(4, 8, init), b(8, 4, init) {}
  void members(Members& m) override {
    m.child("a", a);
    m.child("b", b);
  }
  Linear a, b;
};

// A run with noise, data, clipping and a schedule.
struct Run {
  explicit Run(u64 seed) : text(make_text()), random(seed), init(random), model(init), batches(text, 3, 4, seed) {}
  static std::vector<i32> make_text() {
    std::vector<i32> text;
    for (i32 i = 0; i < 500; ++i) text.push_back(i * i % 7);
    return text;
  }
  void train(int steps) {
    for (int i = 0; i < steps; ++i, ++step) {
      random.advance();
      optimizer.set_lr(schedule.lr(step));
      const Batch batch = batches.next();
      const Tensor x = cast(batch.inputs, DType::f32) + random_normal({3, 4}, 0, 0.1, random.next());
      const Tensor y = model.b.forward(tanh(model.a.forward(x)));
      optimizer.zero_grad();
      mean(square(y - cast(batch.targets, DType::f32))).backward();
      optimizer.step(clip_grad_norm(optimizer.parameters(), 0.5).scale);
    }
  }
  TrainingState state() { return {model, optimizer, schedule, random, batches, step}; }
  std::vector<float> weights() {
    std::vector<float> all;
    for (const NamedTensor& t : model.state_dict())
      for (const float v : t.tensor.to_vector<float>()) all.push_back(v);
    return all;
  }

  std::vector<i32> text;
  Random random;
  Init init;
  Net model;
  AdamW optimizer{decay_matrices(model, 0.1)};
  CosineSchedule schedule{.peak = 0.05, .floor = 0.001, .warmup = 5, .total = 20};
  RandomBatches batches;
  i64 step = 0;
};

}  // namespace

TEST_CASE("checkpoint: 20 steps have the same bits as 10, save, load into new objects and 10 more") {
  TemporaryFolder folder;
  Run straight(3), first(3), second(77);
  straight.train(20);
  first.train(10);
  save_checkpoint(folder.file("run"), first.state(), {{"note", "n"}});
  second.train(2);  // anything: all of it is replaced
  second.schedule.total = 1;
  CHECK(load_checkpoint(folder.file("run"), second.state(), {{"note", "n"}}) == Notes{{"note", "n"}});
  CHECK(second.step == 10);
  CHECK(second.schedule == first.schedule);
  second.train(10);
  CHECK(second.weights() == straight.weights());
  CHECK(first.weights() != straight.weights());
}

TEST_CASE("checkpoint: a run goes on on another device from the bits that it had") {
  if (!on_cuda()) return;
  TemporaryFolder folder;
  const auto run_on = [](Device device, u64 seed) {
    const DeviceScope scope(device);
    auto run = std::make_unique<Run>(seed);
    run->train(3);
    return run;
  };
  for (const Device from : {Device::cpu, Device::cuda}) {
    const Device to = from == Device::cpu ? Device::cuda : Device::cpu;
    const auto first = run_on(from, 3), second = run_on(to, 4);
    save_checkpoint(folder.file("run"), first->state());
    load_checkpoint(folder.file("run"), second->state());
    CHECK(second->weights() == first->weights());
    CHECK(second->model.a.weight.device() == to);
    CHECK((second->random.step() == 3 && second->random.seed() == 3));
    CHECK(second->batches.next().inputs.to_vector<i64>() == first->batches.next().inputs.to_vector<i64>());
    save_checkpoint(folder.file("again"), second->state());
    CHECK(second->optimizer.steps() == 3);
  }
}

TEST_CASE("checkpoint: a file that does not fit changes nothing and says why") {
  TemporaryFolder folder;
  Run run(3);
  run.train(1);
  const std::string path = folder.file("run");
  save_checkpoint(path, run.state(), {{"width", "8"}});
  const auto before = run.weights();
  CHECK_THROWS_WITH_AS(load_checkpoint(path, run.state(), {{"width", "9"}, {"heads", "2"}}),
                       (path + ": the checkpoint was made with other settings: heads = nothing (here 2), width = 8 "
                               "(here 9)")
                           .c_str(),
                       IoError);
  TensorFile file = load_safetensors(path);
  file.tensors.pop_back();
  save_safetensors(path, file);
  CHECK_THROWS_WITH_AS(
      load_checkpoint(path, run.state()),
      (path + ": names, shapes and dtypes must match; got missing: optimizer.b.bias.exp_avg_sq").c_str(), IoError);
  save_safetensors(path, {});
  CHECK_THROWS_WITH_AS(load_checkpoint(path, run.state()), (path + ": it is not a checkpoint of version 1").c_str(),
                       IoError);
  CHECK(run.weights() == before);
  CHECK(run.step == 1);
}

TEST_CASE("fingerprint: FNV-1a's published values") {
  CHECK(fingerprint("") == "cbf29ce484222325");
  CHECK(fingerprint("foobar") == "85944171f73967e8");
}

#include "nn/module.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Two linear layers, a stack of two experts that are stored transposed, a buffer, and a second name for a weight.
struct Toy : Module {
  explicit Toy(Init& init) : first(3, 2, init), w1(init.normal({2, 3, 4}, 1)), bias(init.zeros({2, 4})) {
    list.push_back(std::make_unique<Linear>(2, 3, init, Linear::Options{.bias = false}));
    tied = first.weight;
  }
  void members(Members& m) override {
    m.child("first", first);
    m.children("list", list);
    m.stack("experts.{}.w1.weight", w1, {.active = 1, .transposed = true});
    m.stack("experts.{}.w1.bias", bias, {.active = 1});
    m.buffer("seen", seen);
    m.parameter("tied", tied);
  }
  Linear first;
  std::vector<std::unique_ptr<Linear>> list;
  Tensor w1, bias, seen = zeros({3}, DType::i64), tied;
};

std::vector<std::string> names_of(const StateDict& state) {
  std::vector<std::string> names;
  for (const NamedTensor& t : state) names.push_back(t.name);
  return names;
}
StateDict copy_of(const StateDict& state) {
  StateDict copy;
  for (const NamedTensor& t : state)
    copy.push_back({t.name, from_vector(t.tensor.to_vector<double>(), t.tensor.shape(), t.tensor.dtype())});
  return copy;
}

}  // namespace

TEST_CASE("module: names in order, stacks under their layers' names, views of the module's own values") {
  Random random(1);
  Init init(random);
  Toy toy(init);
  const StateDict state = toy.state_dict();
  CHECK(names_of(state) == std::vector<std::string>{"first.weight", "first.bias", "list.0.weight",
                                                    "experts.0.w1.weight", "experts.0.w1.bias", "experts.1.w1.weight",
                                                    "experts.1.w1.bias", "seen", "tied"});
  CHECK(state[5].tensor.shape() == Shape{4, 3});
  CHECK(value_at(state[5].tensor, {3, 1}) == value_at(toy.w1, {1, 1, 3}));
  state[5].tensor.assign(full({4, 3}, 7));
  CHECK(value_at(toy.w1, {1, 2, 3}) == 7);
  CHECK(value_at(toy.w1, {0, 2, 3}) != 7);
  CHECK_FALSE(state[0].tensor.requires_grad());
}

TEST_CASE("module: parameters once each, buffers not; ranks and counts of stacks") {
  Random random(1);
  Init init(random);
  Toy toy(init);
  std::vector<std::string> names;
  for (const Member& m : toy.named_parameters()) names.push_back(m.name + "/" + std::to_string(m.rank()));
  CHECK(names == std::vector<std::string>{"first.weight/2", "first.bias/1", "list.0.weight/2", "experts.{}.w1.weight/2",
                                          "experts.{}.w1.bias/1"});
  CHECK(toy.first.weight.name() == "first.weight");
  CHECK(toy.parameter_count() == 6 + 2 + 6 + 24 + 8);
  CHECK(toy.active_parameter_count() == 6 + 2 + 6 + 12 + 4);
  toy.first.weight.requires_grad_(false);
  CHECK(toy.parameters().size() == 4);
}

TEST_CASE("module: load_state_dict copies all values, and later changes of the source do not reach the module") {
  Random random(1), other(2);
  Init init(random), different(other);
  Toy from(init), to(different);
  const StateDict saved = copy_of(from.state_dict());
  to.load_state_dict(saved);
  const StateDict a = from.state_dict(), b = to.state_dict();
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(difference(a[i].tensor, b[i].tensor) == 0);
  CHECK(to.first.weight.requires_grad());
}

TEST_CASE("module: load_state_dict names all that is wrong in one error and then changes nothing") {
  Random random(1);
  Init init(random);
  Toy toy(init);
  const auto before = toy.first.weight.to_vector<float>();
  StateDict values = copy_of(toy.state_dict());
  values[0].tensor = full({2, 3}, 9);
  values[1].name = "first.bais";
  values[2].tensor = zeros({2, 3});
  values[7].tensor = zeros({3});
  values.push_back(values[8]);
  CHECK_THROWS_WITH_AS(
      toy.load_state_dict(values),
      "load_state_dict: names, shapes and dtypes must match; got missing: first.bias; unknown: "
      "first.bais; different: list.0.weight (f32 [2, 3], wanted f32 [3, 2]), seen (f32 [3], wanted i64 [3]); given "
      "twice: tied",
      Error);
  CHECK(toy.first.weight.to_vector<float>() == before);
}

TEST_CASE("module: to(dtype) converts parameters and keeps ties; gradients then have the dtype") {
  Random random(1);
  Init init(random);
  Toy toy(init);
  toy.to(DType::f64);
  CHECK(toy.first.weight.dtype() == DType::f64);
  CHECK(toy.seen.dtype() == DType::i64);
  CHECK(&toy.tied.body() == &toy.first.weight.body());
  sum(toy.first.forward(ones({2, 3}, DType::f64))).backward();
  CHECK(toy.first.weight.grad().dtype() == DType::f64);
  toy.zero_grad();
  CHECK_FALSE(toy.first.weight.grad());
  toy.to(DType::bf16);
  sum(toy.first.forward(ones({2, 3}, DType::bf16))).backward();
  CHECK(toy.first.weight.grad().dtype() == DType::bf16);
  CHECK_THROWS_WITH_AS(toy.to(DType::i32), "to: x must be f32, f64 or bf16; got i32", DTypeError);
}

TEST_CASE("module: to(device) moves parameters and buffers and keeps ties; values come and go between devices") {
  if (!on_cuda()) return;
  Random random(1, Device::cpu);
  const auto make = [&] {
    const DeviceScope scope(Device::cpu);
    Init init(random);
    return std::make_unique<Toy>(init);
  };
  const auto toy = make(), other = make();
  const auto before = toy->first.weight.to_vector<float>();
  toy->to(Device::cuda);
  for (const Member& m : toy->all_members()) CHECK(m.tensor->device() == Device::cuda);
  CHECK(&toy->tied.body() == &toy->first.weight.body());
  CHECK(toy->first.weight.requires_grad());
  CHECK(toy->first.weight.to_vector<float>() == before);
  sum(toy->first.forward(ones({2, 3}, DType::f32, Device::cuda))).backward();
  CHECK(toy->first.weight.grad().device() == Device::cuda);
  other->load_state_dict(toy->state_dict());
  CHECK(other->first.weight.device() == Device::cpu);
  CHECK(other->first.weight.to_vector<float>() == before);
  toy->load_state_dict(copy_of(other->state_dict()));
  toy->to(Device::cpu);
  CHECK(toy->first.weight.to_vector<float>() == before);
}

TEST_CASE("module: summary") {
  Random random(1);
  Init init(random);
  Toy toy(init);
  CHECK(toy.summary() ==
        "name                  shape              elements\n"
        "first.weight          f32 [2, 3]                6\n"
        "first.bias            f32 [2]                   2\n"
        "list.0.weight         f32 [3, 2]                6\n"
        "experts.{}.w1.weight  f32 [2, 3, 4]            24\n"
        "experts.{}.w1.bias    f32 [2, 4]                8\n"
        "seen                  i64 [3]                   3  (buffer)\n"
        "tied                  f32 [2, 3]                6\n"
        "46 parameters, 30 of them active per token\n");
  CHECK(with_commas(-1234567) == "-1,234,567");
  CHECK(with_commas(123) == "123");
  CHECK(with_commas(-123) == "-123");
}

TEST_CASE("module: to() keeps the values of parameters that repeat them by strides of 0") {
  Random random(1);
  Init init(random);
  Linear layer(3, 2, init);
  layer.weight = expand(tensor({{5}, {7}}), {2, 3}).detach().requires_grad_();  // rows repeat
  layer.bias = expand(tensor({4}), {2}).detach().requires_grad_();              // one number
  layer.to(DType::f64);
  CHECK(layer.weight.to_vector<double>() == std::vector<double>{5, 5, 5, 7, 7, 7});
  CHECK(layer.bias.to_vector<double>() == std::vector<double>{4, 4});
}

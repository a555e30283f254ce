#include "nn/recompute.h"

#include <doctest/doctest.h>

#include "nn/block.h"
#include "nn/moe/moe.h"
#include "ops/autodiff/anomaly.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Two blocks with mixtures and dropout everywhere, whose auxiliary losses add up under the same names.
struct Model {
  Random random{3};
  Init init{random, DType::f64};
  std::vector<std::unique_ptr<Block>> blocks;
  explicit Model(double capacity_factor) {
    for (int i = 0; i < 2; ++i)
      blocks.push_back(std::make_unique<Block>(
          8, SelfAttention::Options{.heads = 2, .dropout = 0.1},
          make_moe(8, {.experts = 4, .k = 2, .capacity_factor = capacity_factor, .hidden = 6, .dropout = 0.2}, init),
          init));
  }
  std::vector<Tensor> parameters() {
    std::vector<Tensor> all;
    for (auto& b : blocks)
      for (const Tensor& p : b->parameters()) all.push_back(p);
    return all;
  }
};

enum class Saving { none, each, both, nested };

struct Outcome {
  double loss = 0;
  std::vector<Tensor> gradients;
  StateDict records;
  u32 drawn = 0;
  std::map<std::string, double> losses;
};

Tensor run(Model& m, const Tensor& x, Context& context, Saving saving) {
  const auto block = [&m](std::size_t i) {
    return [&m, i](const Tensor& in, Context& c) {
      Inside here(c, "blocks", static_cast<i64>(i));
      return m.blocks[i]->forward(in, c);
    };
  };
  const auto both = [&](bool save_inside) {
    return [block, save_inside](const Tensor& in, Context& c) {
      const Tensor h = save_inside ? checkpoint(block(0), in, c) : block(0)(in, c);
      return save_inside ? checkpoint(block(1), h, c) : block(1)(h, c);
    };
  };
  if (saving == Saving::none || saving == Saving::each) return both(saving == Saving::each)(x, context);
  return checkpoint(both(saving == Saving::nested), x, context);
}

Outcome train(double capacity_factor, Saving saving, bool second_order = false) {
  Model m(capacity_factor);
  Random random(11);
  Context context{.training = true, .random = &random};
  Tensor x = random_tensor({2, 6, 8}, 5);
  x.requires_grad_();
  context.add_loss("load_balancing", 0.5 * sum(x));  // a sum that began before
  const Tensor y = run(m, x, context, saving);
  Tensor loss = sum(square(y)) + 0.3 * context.losses.at("load_balancing") + 0.2 * context.losses.at("router_z");
  std::vector<Tensor> wanted = m.parameters();
  wanted.push_back(x);
  Outcome o{.loss = loss.item(), .records = context.records, .drawn = random.drawn()};
  for (const auto& [name, value] : context.losses) o.losses[name] = value.item();
  if (second_order) {
    Tensor total = scalar(0, DType::f64);
    for (const Tensor& g : grad(loss, wanted, {.create_graph = true})) total = total + sum(square(g));
    loss = total;
  }
  o.gradients = grad(loss, wanted);
  return o;
}

bool same_bits(const Outcome& a, const Outcome& b) {
  for (std::size_t i = 0; i < a.gradients.size(); ++i)
    if (a.gradients[i].to_vector<double>() != b.gradients[i].to_vector<double>()) return false;
  return a.loss == b.loss && a.losses == b.losses && a.gradients.size() == b.gradients.size();
}

}  // namespace

TEST_CASE("checkpoint of layers: loss, auxiliary losses and every gradient bit for bit; records and draws once") {
  for (const double factor : {0.0, 1.0}) {
    const Outcome plain = train(factor, Saving::none);
    CHECK(plain.drawn == 6);
    for (const Saving saving : {Saving::each, Saving::both, Saving::nested}) {
      CAPTURE(factor);
      CAPTURE(static_cast<int>(saving));
      const Outcome saved = train(factor, saving);
      CHECK(same_bits(plain, saved));
      CHECK(saved.drawn == plain.drawn);
      REQUIRE(saved.records.size() == plain.records.size());
      for (std::size_t i = 0; i < plain.records.size(); ++i) {
        CHECK(saved.records[i].name == plain.records[i].name);
        CHECK(saved.records[i].tensor.to_vector<i64>() == plain.records[i].tensor.to_vector<i64>());
      }
    }
  }
}

TEST_CASE("checkpoint of layers: gradients of gradients, through routers and auxiliary losses") {
  const Outcome plain = train(0, Saving::none, true);
  for (const Saving saving : {Saving::each, Saving::nested}) {
    const Outcome saved = train(0, saving, true);
    for (std::size_t i = 0; i < plain.gradients.size(); ++i)
      CHECK(difference(plain.gradients[i], saved.gradients[i]) < 1e-13);
  }
}

TEST_CASE("checkpoint of layers: a planted fault, a loss that is left out, would be seen") {
  Model m(0);
  Context with, without;
  Tensor x = random_tensor({2, 6, 8}, 5);
  x.requires_grad_();
  run(m, x, with, Saving::each);
  const Tensor only = with.losses.at("router_z");
  CHECK(sum(abs(grad(only, {x})[0])).item() > 1e-3);  // it carries a gradient of its own
  no_grad guard;
  run(m, x, without, Saving::each);
  CHECK(without.losses.at("router_z").item() == only.item());
  CHECK_FALSE(without.losses.at("router_z").requires_grad());
}

TEST_CASE("checkpoint of layers: several tensors, and names of layers in diagnostics") {
  Context context;
  Inside outer(context, "encoder");
  Tensor x = tensor({-1, 4}, DType::f64);
  x.requires_grad_();
  const auto fn = [](const std::vector<Tensor>& in, Context& c) {
    Inside here(c, "attention");
    c.record("seen", in[0]);
    return std::vector<Tensor>{in[0] * in[1], sqrt(in[0] + 1.0)};
  };
  const auto ys = checkpoint(fn, {x, x}, context);
  CHECK(context.records.size() == 1);
  CHECK(context.records[0].name == "encoder.attention.seen");
  CHECK(grad(sum(ys[0]), {x}, {.retain_graph = true})[0].to_vector<double>() == std::vector<double>{-2, 8});
  AnomalyMode scope;
  const auto again = checkpoint(fn, {x, x}, context);
  CHECK_THROWS_WITH_AS(sum(again[1]).backward(),
                       "anomaly: values must be finite; got inf at element 0 of the gradient of input 0 of sqrt(f64 "
                       "[2]), in layer 'encoder.attention'",
                       AnomalyError);
}

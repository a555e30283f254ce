#include "core/observe.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cumsum.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

// What happened, in words.
struct Diary final : Observer {
  std::string lines;
  void note(const std::string& line) { lines += line + "\n"; }
  void ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) override {
    const std::string attributes = node.attributes();
    note(std::string(node.name) + (attributes.empty() ? "" : " (" + attributes + ")") + " " +
         std::to_string(inputs.size()) + " -> " + std::to_string(ys.size()));
    CHECK_FALSE(Observer::any());
    exp(ys[0]);  // what an observer runs is told to nobody
  }
  void chose(const char* name, const Tensor&, const Tensor&) override { note(std::string("chose ") + name); }
  void rule_begins(const Node& node, std::span<const Tensor>) override { note(std::string("rule of ") + node.name); }
  void rule_ended(const Node& node, std::span<const Tensor>, const SmallList<Tensor, 3>* dxs) override {
    note(std::string(dxs ? "done " : "failed ") + node.name);
  }
};

Tensor leaf(const Literal& values) {
  Tensor x = tensor(values, DType::f64);
  return x.requires_grad_();
}

}  // namespace

TEST_CASE("observe: ops, choices and rules in order, recorded or not; attributes are those of the call") {
  const Tensor x = leaf({1, 2}), plain = tensor({1, 2});
  Diary diary;
  const Tensor y = cumsum(exp(x), 0);
  exp(plain);
  argmax(plain, 0, true);
  grad(y, {x}, ones({2}, DType::f64));
  CHECK(
      diary.lines ==
      "exp 1 -> 1\ncumsum (axis = 0, reverse = false, exclusive = false) 1 -> 1\nexp 1 -> 1\nchose argmax\nrule of "
      "cumsum\n"
      "cumsum (axis = 0, reverse = true, exclusive = false) 1 -> 1\ndone cumsum\nrule of exp\nmul 2 -> 1\ndone exp\n");
}

TEST_CASE("observe: observers nest, all are told, and they end with their scope") {
  const Tensor x = leaf({1, 2});
  Diary outer;
  {
    Diary inner;
    exp(x);
    CHECK(inner.lines == "exp 1 -> 1\n");
  }
  exp(x);
  CHECK(outer.lines == "exp 1 -> 1\nexp 1 -> 1\n");
}

TEST_CASE("observe: a rule that throws is told as failed, and the observer stays") {
  const Tensor x = leaf({1, 2});
  const Tensor y =
      record("bad", exp(x.detach()), {x}, saves(kNone), [](const GradArgs&) -> Grads { throw Error("on purpose"); });
  CHECK_FALSE(Observer::any());
  Diary diary;
  CHECK_THROWS_WITH_AS(grad(y, {x}, ones({2}, DType::f64)), "on purpose", Error);
  CHECK(diary.lines == "rule of bad\nfailed bad\n");
  CHECK(Observer::any());
}

TEST_CASE("observe: what runs in a pause is told to nobody, nor the parts of a choice") {
  const Tensor x = tensor({{3, 1}, {1, 2}});
  Diary diary;
  {
    Observer::Pause quiet;
    exp(x);
  }
  argmax(x, 0, true);  // permutes
  CHECK(diary.lines == "chose argmax\n");
}

TEST_CASE("observe: an exception thrown by an observer reaches the caller of the op") {
  struct Refuses final : Observer {
    void ran(const Node& node, std::span<const Tensor>, std::span<const Tensor>) override { throw Error(node.name); }
  };
  {
    Refuses scope;
    CHECK_THROWS_WITH_AS(exp(tensor({1})), "exp", Error);
    CHECK_THROWS_WITH_AS(neg(tensor({1})), "neg", Error);
  }
  exp(tensor({1}));
}

TEST_CASE("name scope: the innermost name, read when it is asked for, without its last dot") {
  CHECK(NameScope::current() == "");
  std::string path = "blocks.3.";
  {
    NameScope outer(path);
    CHECK(NameScope::current() == "blocks.3");
    const std::string other = "head";
    {
      NameScope inner(other);
      CHECK(NameScope::current() == "head");
    }
    path += "attention.";
    CHECK(NameScope::current() == "blocks.3.attention");
  }
  CHECK(NameScope::current() == "");
}

#include "ops/autodiff/to_dot.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/ops.h"

using namespace moegrad;

namespace {
Tensor leaf(const Shape& shape, const char* label = "") {
  Tensor x = full(shape, 0.5, DType::f64);
  x.requires_grad_();
  x.set_name(label);
  return x;
}
}  // namespace

TEST_CASE("to_dot: ops with attributes, named leaves, shapes on the arrows; the same text each time") {
  const auto picture = [] {
    const Tensor w = leaf({3, 2}, "w"), x = leaf({2, 3});
    return to_dot(sum(softmax(matmul(x, w), 1) * 2.0));
  };
  const char* text = R"(digraph moegrad {
  rankdir=TB;
  node [shape=box];
  n0 [shape=ellipse, label="w"];
  n1 [shape=ellipse, label="leaf"];
  n2 [label="matmul"];
  n3 [label="softmax\naxes = [1]"];
  n4 [label="mul"];
  n5 [label="sum\naxes = [0, 1]"];
  y [shape=plaintext];
  n1 -> n2 [label="f64 [2, 3]"];
  n0 -> n2 [label="f64 [3, 2]"];
  n2 -> n3 [label="f64 [2, 2]"];
  n3 -> n4 [label="f64 [2, 2]"];
  n4 -> n5 [label="f64 [2, 2]"];
  n5 -> y [label="f64 []"];
}
)";
  CHECK(picture() == text);
  CHECK(picture() == text);  // other nodes, other addresses
}

TEST_CASE("to_dot: a released graph looks like a live one") {
  const Tensor y = sum(exp(leaf({2})) * leaf({2}));
  const std::string before = to_dot(y);
  y.backward();
  CHECK(to_dot(y) == before);
}

TEST_CASE("to_dot: names are quoted; outputs are numbered where there are several; options") {
  const Tensor x = leaf({4}, "say \"hi\" \\ now\nand then");
  const auto parts = split(x, {1, 3}, 0);
  const Tensor y = sum(parts[1]);
  CHECK(to_dot(y) == R"(digraph moegrad {
  rankdir=TB;
  node [shape=box];
  n0 [shape=ellipse, label="say \"hi\" \\ now\nand then"];
  n1 [label="split\naxis = 0, 2 parts"];
  n2 [label="sum\naxes = [0]"];
  y [shape=plaintext];
  n0 -> n1 [label="f64 [4]"];
  n1 -> n2 [label="output 1: f64 [3]"];
  n2 -> y [label="f64 []"];
}
)");
  CHECK(to_dot(y, {.attributes = false, .shapes = false}) == R"(digraph moegrad {
  rankdir=TB;
  node [shape=box];
  n0 [shape=ellipse, label="say \"hi\" \\ now\nand then"];
  n1 [label="split"];
  n2 [label="sum"];
  y [shape=plaintext];
  n0 -> n1;
  n1 -> n2 [label="output 1"];
  n2 -> y;
}
)");
}

TEST_CASE("to_dot: of a large graph the nodes nearest to y, and a note; 100,000 nodes are no problem") {
  Tensor y = leaf({1}, "x");
  for (int i = 0; i < 3; ++i) y = exp(y);
  CHECK(to_dot(y, {.most = 2, .shapes = false}) == R"(digraph moegrad {
  rankdir=TB;
  node [shape=box];
  n0 [label="exp"];
  n1 [label="exp"];
  more [shape=note, label="2 more nodes"];
  y [shape=plaintext];
  more -> n0;
  n0 -> n1;
  n1 -> y;
}
)");
  for (int i = 0; i < 100000; ++i) y = neg(y);
  const std::string text = to_dot(y);
  CHECK(text.find("99504 more nodes") != std::string::npos);
  CHECK(text.size() < 100000);
}

TEST_CASE("to_dot: error texts") {
  CHECK_THROWS_WITH_AS(to_dot(zeros({2})), "to_dot: y must depend on a tensor that requires a gradient; got y f32 [2]",
                       GradError);
  CHECK_THROWS_WITH_AS(to_dot(leaf({2}), {.most = 0}), "to_dot: most must be at least 1; got 0", Error);
}

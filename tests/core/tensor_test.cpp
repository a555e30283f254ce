#include "core/tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/slice.h"
#include "ops/views.h"

using namespace moegrad;

namespace {
using Doubles = std::vector<double>;
using Ints = std::vector<i64>;
}  // namespace

TEST_CASE("tensor: literals of any depth") {
  CHECK(tensor(2.5).shape() == Shape{});
  CHECK(tensor(2.5).item() == 2.5);
  CHECK(tensor({1, 2, 3}).shape() == Shape{3});
  CHECK(tensor({7}).shape() == Shape{1});
  CHECK(tensor({{1, 2}}).shape() == Shape{1, 2});
  CHECK(tensor({{{1}}, {{2}}}).shape() == Shape{2, 1, 1});
  CHECK(tensor({{1, 2, 3}, {4, 5, 6}}).to_vector<double>() == Doubles{1, 2, 3, 4, 5, 6});
  CHECK(tensor({}).shape() == Shape{0});
  CHECK(tensor({{}, {}}).shape() == Shape{2, 0});
  CHECK(tensor({1, 0, 3}, DType::boolean).to_vector<bool>() == std::vector<bool>{true, false, true});
  CHECK(tensor({true, false}, DType::boolean).to_vector<i64>() == Ints{1, 0});
  CHECK(tensor({1.9, -1.9}, DType::i32).to_vector<i64>() == Ints{1, -1});
}

TEST_CASE("tensor: ragged literals are errors") {
  CHECK_THROWS_WITH_AS(tensor({{1, 2}, {3}}), "tensor: rows must have one length; got 2 and 1", ShapeError);
  CHECK_THROWS_WITH_AS(tensor({{1}, {2, 3}}), "tensor: rows must have one length; got 1 and 2", ShapeError);
  CHECK_THROWS_WITH_AS(tensor({{}, {1}}), "tensor: rows must have one length; got 0 and 1", ShapeError);
  CHECK_THROWS_WITH_AS(tensor({{1, 2}, 3}), "tensor: rows must have one depth; got a number beside a list", ShapeError);
  CHECK_THROWS_WITH_AS(tensor({1, {2, 3}}), "tensor: rows must have one depth; got a list beside a number", ShapeError);
  Literal deep = 1;
  for (int i = 0; i < 13; ++i) deep = Literal{deep, deep};
  CHECK_THROWS_WITH_AS(tensor(deep), "shape: rank must be at most 12; got 13", ShapeError);
}

TEST_CASE("from_vector: values in row-major order, converted to the dtype that is asked for") {
  const Tensor x = from_vector(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK((x.dtype() == DType::f32 && x.shape() == Shape{2, 3} && x.strides() == Strides{3, 1}));
  CHECK(from_vector(std::vector<i64>{INT64_MAX, 7}, {2}).to_vector<i64>() == Ints{INT64_MAX, 7});
  CHECK(from_vector(Doubles{}, {0, 4}).size() == 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(from_vector(Doubles{1e30, -1e30, nan}, {3}, DType::i32).to_vector<i64>() == Ints{INT32_MAX, INT32_MIN, 0});
  CHECK_THROWS_WITH_AS(from_vector(Doubles{1, 2, 3}, {2, 2}),
                       "from_vector: the shape must hold all values; got 3 values for [2, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(from_vector(Doubles{1}, {-1}), "from_vector: sizes must not be negative; got shape [-1]",
                       ShapeError);
}

TEST_CASE("fills: zeros, ones, full, scalar, eye and their likes") {
  CHECK(zeros({2, 2}).to_vector<double>() == Doubles(4, 0.0));
  CHECK(full({3}, 0.1).to_vector<float>() == std::vector<float>(3, 0.1f));
  CHECK((full({2}, 7.9, DType::i64).to_vector<i64>() == Ints{7, 7} && full({1}, -3, DType::boolean).item() == 1));
  CHECK((scalar(4, DType::f64).rank() == 0 && scalar(4, DType::f64).item() == 4));
  CHECK(eye(3).to_vector<double>() == Doubles{1, 0, 0, 0, 1, 0, 0, 0, 1});
  CHECK(eye(0).shape() == Shape{0, 0});
  const Tensor like = ones_like(transpose(zeros({2, 3}, DType::i32)));
  CHECK((like.shape() == Shape{3, 2} && like.dtype() == DType::i32 && like.is_contiguous()));
  CHECK(like.to_vector<i64>() == Ints(6, 1));
  CHECK(zeros_like(like).to_vector<i64>() == Ints(6, 0));
  CHECK((full_like(like, 7).to_vector<i64>() == Ints(6, 7) && full_like(like, 7).dtype() == DType::i32));
}

TEST_CASE("fills: a bad shape names the function that was called") {
  CHECK_THROWS_WITH_AS(empty({-1}), "empty: sizes must not be negative; got shape [-1]", ShapeError);
  CHECK_THROWS_WITH_AS(zeros({2, -1}), "zeros: sizes must not be negative; got shape [2, -1]", ShapeError);
  CHECK_THROWS_WITH_AS(ones({-2}), "ones: sizes must not be negative; got shape [-2]", ShapeError);
  CHECK_THROWS_WITH_AS(full({-2}, 1), "full: sizes must not be negative; got shape [-2]", ShapeError);
  CHECK_THROWS_WITH_AS(eye(-2), "eye: sizes must not be negative; got shape [-2, -2]", ShapeError);
  CHECK_THROWS_WITH_AS(linspace(0, 1, -2), "linspace: sizes must not be negative; got shape [-2]", ShapeError);
}

TEST_CASE("arange and linspace") {
  CHECK(arange(0, 4).to_vector<i64>() == Ints{0, 1, 2, 3});
  CHECK(arange(0, 4).dtype() == DType::i64);
  CHECK(arange(5, 0, -2).to_vector<i64>() == Ints{5, 3, 1});
  CHECK(arange(2, 2).size() == 0);
  CHECK(arange(2, 5, -1).size() == 0);
  CHECK(arange(0, 1, 0.25, DType::f64).to_vector<double>() == Doubles{0, 0.25, 0.5, 0.75});
  CHECK(arange(0, 2.5, 1).to_vector<i64>() == Ints{0, 1, 2});
  CHECK(linspace(0, 1, 5, DType::f64).to_vector<double>() == Doubles{0, 0.25, 0.5, 0.75, 1});
  CHECK(linspace(3, 9, 1).to_vector<double>() == Doubles{3});
  CHECK(linspace(3, 9, 0).size() == 0);
  const Tensor fine = linspace(0.1, 0.7, 1001, DType::f64);
  CHECK((fine[0].item() == 0.1 && fine[-1].item() == 0.7));  // the ends are exact
  CHECK_THROWS_WITH_AS(arange(0, 4, 0), "arange: begin, end and step must be finite and step not 0; got 0, 4, 0",
                       Error);
  CHECK_THROWS_WITH_AS(arange(0, std::numeric_limits<double>::infinity()),
                       "arange: begin, end and step must be finite and step not 0; got 0, inf, 1", Error);
  CHECK_THROWS_WITH_AS(arange(std::nan(""), 1),
                       "arange: begin, end and step must be finite and step not 0; got nan, 1, 1", Error);
  CHECK_THROWS_WITH_AS(arange(0, 1e300), "arange: at most 10^15 values; got 1e+300", ShapeError);
  CHECK_THROWS_WITH_AS(arange(0, 1, 0.25),
                       "arange: begin and step must be whole numbers for i64; got 0, 1, 0.25 (or ask for f32)",
                       DTypeError);
}

TEST_CASE("reading: item and to_vector, through any strides and dtypes") {
  const Tensor x = reshape(arange(0, 24, 1, DType::f32), {2, 3, 4});
  CHECK(permute(x, {2, 0, 1}).to_vector<i64>() ==
        Ints{0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23});
  CHECK(slice(x, 2, {3, kEnd, -2}).to_vector<double>() == Doubles{3, 1, 7, 5, 11, 9, 15, 13, 19, 17, 23, 21});
  CHECK(expand(tensor({1, 2}), {3, 2}).to_vector<i32>() == std::vector<i32>{1, 2, 1, 2, 1, 2});
  CHECK(zeros({0, 3}).to_vector<float>().empty());
  CHECK(x.index({1, 2, 3}).item() == 23);
  CHECK(full({1, 1}, 1, DType::boolean).item() == 1);
  CHECK_THROWS_WITH_AS(x.item(), "item: x must have one element; got x [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(zeros({0}).item(), "item: x must have one element; got x [0]", ShapeError);
  CHECK((x.dim(-1) == 4 && x.dim(0) == 2));
  CHECK_THROWS_WITH_AS(x.dim(3), "dim: axis must be in [-3, 3); got 3 for x [2, 3, 4]", ShapeError);
}

TEST_CASE("reading: data<T> of another type is an error, and views begin where they should") {
  const Tensor x = arange(0, 6, 1, DType::f32, Device::cpu);
  CHECK(x.data<float>()[5] == 5);
  CHECK(slice(x, 0, {2, 4}).data<float>()[0] == 2);
  CHECK_THROWS_WITH_AS(x.data<double>(), "data: the C++ type must be that of the tensor; got f64 for x f32 [6]",
                       DTypeError);
  CHECK(describe(zeros({2, 3}, DType::boolean)) == "bool [2, 3]");
}

TEST_CASE("the empty handle: every use is an error, none is a crash") {
  const Tensor none;
  const char* text = "tensor: the handle must hold a tensor; got an empty (default constructed) Tensor";
  CHECK_FALSE(none);
  CHECK_THROWS_WITH_AS(none.shape(), text, Error);
  CHECK_THROWS_WITH_AS(none.item(), text, Error);
  CHECK_THROWS_WITH_AS(none.to_vector<float>(), text, Error);
  CHECK_THROWS_WITH_AS(none.data<float>(), text, Error);
  CHECK_THROWS_WITH_AS(none.requires_grad(), text, Error);
  CHECK_THROWS_WITH_AS(none.detach(), text, Error);
  CHECK_THROWS_WITH_AS(none.assign(zeros({1})), text, Error);
  CHECK_THROWS_WITH_AS(zeros({1}).assign(none), text, Error);
  CHECK_THROWS_WITH_AS(none.backward(), text, Error);
  CHECK_THROWS_WITH_AS(none[0], text, Error);
  CHECK_THROWS_WITH_AS(add(none, zeros({1})), text, Error);
  CHECK_THROWS_WITH_AS(zeros({1}) * none, text, Error);
  CHECK_THROWS_WITH_AS(Tensor().requires_grad_(), text, Error);
  CHECK_THROWS_WITH_AS(none.name(), text, Error);
}

TEST_CASE("assign: into views, from views, and from the same values in another order") {
  const Tensor x = zeros({2, 3});
  x.assign(transpose(tensor({{1, 2}, {3, 4}, {5, 6}})));
  CHECK(x.to_vector<double>() == Doubles{1, 3, 5, 2, 4, 6});
  slice(x, 1, {1, 2}).assign(tensor({{7}, {8}}));
  CHECK(x.to_vector<double>() == Doubles{1, 7, 5, 2, 8, 6});
  const Tensor line = arange(0, 6, 1, DType::f32);
  slice(line, 0, {1, 6}).assign(slice(line, 0, {0, 5}));
  CHECK(line.to_vector<double>() == Doubles{0, 0, 1, 2, 3, 4});
  line.assign(flip(line, 0));
  CHECK(line.to_vector<double>() == Doubles{4, 3, 2, 1, 0, 0});
  const Tensor square = tensor({{1, 2}, {3, 4}});
  square.assign(transpose(square));
  CHECK(square.to_vector<double>() == Doubles{1, 3, 2, 4});
}

TEST_CASE("assign: what it refuses") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(x.assign(zeros({3, 2})), "assign: shapes must match; got [3, 2] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(x.assign(zeros({3})), "assign: shapes must match; got [3] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(x.assign(zeros({2, 3}, DType::f64)),
                       "assign: operands must have one dtype; got f32 [2, 3] and f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(expand(zeros({3}), {2, 3}).assign(x),
                       "assign: x must not repeat its elements; got x f32 [2, 3] expanded along axis 0 (copy it first)",
                       Error);
  CHECK_THROWS_WITH_AS(
      writable<float>(expand(zeros({3}), {2, 3})),
      "writable: x must not repeat its elements; got x f32 [2, 3] expanded along axis 0 (copy it first)", Error);
}

TEST_CASE("assign: in a graph only leaves, only under no_grad, and never unnoticed") {
  Tensor w = full({2}, 3);
  w.requires_grad_();
  const Tensor y = w * w;
  const std::string text =
      "assign: a value in a graph must not change; got x f32 [2] that requires a gradient (detach it, or update a leaf "
      "under no_grad)";
  CHECK_THROWS_WITH_AS(w.assign(zeros({2})), text.c_str(), GradError);
  no_grad guard;
  CHECK_THROWS_WITH_AS(y.assign(zeros({2})), text.c_str(), GradError);
  const u32 before = w.body().storage->version;
  w.assign(full({2}, 5));
  CHECK(w.body().storage->version == before + 1);
  CHECK_THROWS_WITH_AS(w.assign(zeros({3})), "assign: shapes must match; got [3] for x [2]", ShapeError);
  CHECK(w.body().storage->version == before + 1);
  writable<float>(w);
  CHECK(w.body().storage->version == before + 2);
  CHECK_THROWS_WITH_AS(
      backward(y, ones({2})),
      "mul: the saved value of input 1 was changed in place after it was recorded; change values after backward",
      GradError);
}

TEST_CASE("detach shares values, not the graph") {
  Tensor w = full({2}, 3);
  w.requires_grad_();
  const Tensor d = w.detach();
  CHECK_FALSE(d.requires_grad());
  CHECK(d.data<float>() == w.data<float>());
  d.assign(zeros({2}));
  CHECK(w.to_vector<double>() == Doubles{0, 0});
  CHECK_FALSE((d * 2.0).requires_grad());
}

TEST_CASE("names belong to leaves") {
  Tensor w = zeros({2});
  CHECK(w.name().empty());
  CHECK_THROWS_WITH_AS(w.set_name("w"),
                       "set_name: x must be a leaf (see requires_grad_); got a tensor without gradient f32 [2]",
                       GradError);
  w.requires_grad_();
  w.set_name("layer.weight");
  const Tensor same = w;
  CHECK(same.name() == "layer.weight");
  CHECK((w * 2.0).name().empty());
}

TEST_CASE("operands on two devices or of two dtypes are named") {
  CHECK_THROWS_WITH_AS(check_same_dtype("mul", zeros({2}), zeros({3}, DType::f64)),
                       "mul: operands must have one dtype; got f32 [2] and f64 [3]", DTypeError);
  const Tensor here = zeros({2}, DType::f32, Device::cpu);
  Tensor there = zeros({2}, DType::f32, Device::cpu);
  there.mutable_body().device = Device::cuda;
  CHECK_THROWS_WITH_AS(check_same_device("mul", here, there),
                       "mul: operands must be on one device; got cpu f32 [2] and cuda f32 [2]", DeviceError);
}

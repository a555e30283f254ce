#include "ops/one_hot.h"

#include <doctest/doctest.h>

#include "core/parallel.h"
#include "core/print.h"
#include "ops/arithmetic.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// The dense form by its definition, in plain loops.
Tensor naive_one_hot(const Tensor& index, i64 n) {
  Shape shape = index.shape();
  shape.push_back(n);
  Tensor y = zeros(shape, DType::f64);
  for_each_index(index.shape(), [&](const std::vector<i64>& at) {
    const i64 c = static_cast<i64>(value_at(index, at));
    if (c < 0) return;
    std::vector<i64> where = at;
    where.push_back(c);
    set_value(y, where, 1);
  });
  return y;
}

}  // namespace

TEST_CASE("one_hot: dense values, -1 rows, empty tables") {
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{2, 3}, Shape{2, 0}, Shape{1, 1, 5}}) {
    const Tensor index = random_index(shape, 4, 3);
    const Tensor y = one_hot(index, 4);
    CHECK_EQ(y.dtype(), DType::boolean);
    CHECK_EQ(difference(cast(dense(y), DType::f64), naive_one_hot(index, 4)), 0);
  }
  CHECK_EQ(dense(one_hot(full({3}, -1, DType::i64), 0)).shape(), Shape{3, 0});
}

TEST_CASE("one_hot: bad arguments are named") {
  CHECK_THROWS_WITH_AS((one_hot(tensor({0, 3, 1}, DType::i64), 3), settle()),
                       bad_value("one_hot: values must be in [-1, 3); got 3", " at element 1 of index [3]"),
                       IndexError);
  CHECK_THROWS_WITH_AS((one_hot(tensor({0, -2}, DType::i32), 3), settle()),
                       bad_value("one_hot: values must be in [-1, 3); got -2", " at element 1 of index [2]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(one_hot(tensor({0.5}), 3), "one_hot: x must be i64 or i32 (an index); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(one_hot(tensor({0}, DType::i64), -1), "one_hot: n must be >= 0; got -1", ShapeError);
}

TEST_CASE("one_hot: scale * one_hot carries the gradient of its scale, to second order") {
  const Tensor index = random_index({3, 4}, 5, 7);
  const auto structured = [&](Args x) { return unsqueeze(x[0], -1) * one_hot(index, 5); };
  check_op({.name = "one_hot",
            .op = structured,
            .reference =
                [&](Args x) {
                  return naive_map([](const std::vector<double>& v) { return v[0] * v[1]; })(
                      {unsqueeze(x[0], -1), naive_one_hot(index, 5)});
                },
            .inputs = {{3, 4}}});
  CHECK(structure_of(structured({ones({3, 4}, DType::f64)})));
}

TEST_CASE("one_hot: its own gradient does not exist, and the error says what to ask for") {
  Tensor gate = ones({2}, DType::f64);
  gate.requires_grad_();
  Tensor combine = unsqueeze(gate, -1) * one_hot(tensor({0, 2}, DType::i64), 3);
  const Tensor y = sum(combine * 2.0);
  CHECK_THROWS_WITH_AS(
      grad(y, {combine}),
      "grad: a structured one-hot has no gradient of its own; ask for that of its scale, or make it dense first",
      GradError);
  CHECK_THROWS_WITH_AS(
      combine.requires_grad_(),
      "requires_grad_: a structured one-hot has no gradient of its own; use its scale, or make it dense first",
      GradError);
  CHECK_THROWS_WITH_AS(combine.assign(combine),
                       "assign: a structured one-hot has no storage to write to; make it dense first", GradError);
}

TEST_CASE("one_hot: permute, reshape, slice, expand, sum, cast and mul keep the structure and the values") {
  const Tensor index = random_index({2, 3, 4}, 5, 11);
  const Tensor hot = one_hot(index, 5), plain = naive_one_hot(index, 5);
  const Tensor wide = random_tensor({2, 3, 4, 5}, 1), row = random_tensor({3, 1, 1}, 2), column = random_tensor({5}, 3);
  struct Case {
    const char* name;
    std::function<Tensor(const Tensor&)> f;
    bool keeps = true;
  };
  const Case cases[] = {
      {"permute",
       [](const Tensor& t) {
         return permute(t, {3, 1, 0, 2});
       }},
      {"merge rows",
       [](const Tensor& t) {
         return reshape(t, {6, 4, 5});
       }},
      {"split rows",
       [](const Tensor& t) {
         return reshape(t, {2, 3, 2, 2, 5});
       }},
      {"unsqueeze inside", [](const Tensor& t) { return unsqueeze(t, 1); }},
      {"unsqueeze before the class", [](const Tensor& t) { return unsqueeze(t, 3); }},
      {"unsqueeze behind the class", [](const Tensor& t) { return unsqueeze(t, -1); }},
      {"reshape after permute",
       [](const Tensor& t) {
         return reshape(permute(t, {3, 2, 0, 1}), {5, 8, 3});
       }},
      {"slice",
       [](const Tensor& t) {
         return slice(t, 1, {1, 3});
       }},
      {"slice backwards",
       [](const Tensor& t) {
         return slice(t, 2, {-1, kEnd, -2});
       }},
      {"select", [](const Tensor& t) { return select(t, 0, 1); }},
      {"expand",
       [](const Tensor& t) {
         return expand(unsqueeze(t, 1), {7, 2, 6, 3, 4, 5});
       }},
      {"sum a row axis", [](const Tensor& t) { return sum(t, 1); }},
      {"sum a row axis, kept",
       [](const Tensor& t) {
         return sum(t, Axes{0, 2}, keep_dims);
       }},
      {"sum, then permute and reshape",
       [](const Tensor& t) {
         return reshape(permute(sum(t, 1), {2, 1, 0}), {5, 8});
       }},
      {"load: all rows summed",
       [](const Tensor& t) {
         return sum(t, {0, 1, 2});
       },
       false},
      {"class summed", [](const Tensor& t) { return sum(t, 3); }, false},
      {"merge row and class",
       [](const Tensor& t) {
         return reshape(t, {2, 3, 20});
       },
       false},
      {"slice of the class",
       [](const Tensor& t) {
         return slice(t, 3, {1, 4});
       },
       false},
      {"cast", [](const Tensor& t) { return cast(t, DType::f64); }},
      {"mul by rows", [&](const Tensor& t) { return t * row; }},
      {"mul by rows, on the left", [&](const Tensor& t) { return row * t; }},
      {"mul by classes", [&](const Tensor& t) { return t * column; }},
      {"mul by everything", [&](const Tensor& t) { return wide * t; }},
      {"mul by a number", [&](const Tensor& t) { return scalar(3, DType::f64) * t; }},
      {"mul that widens",
       [&](const Tensor& t) {
         return slice(t, 1, {0, 1}) * random_tensor({6, 2, 3, 4, 5}, 5);
       }},
      {"mul twice", [&](const Tensor& t) { return (row * t) * column; }},
      {"sum after mul", [&](const Tensor& t) { return sum(column * t, 2); }},
      {"detach", [&](const Tensor& t) { return (row * t).detach(); }},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Tensor y = c.f(hot);
    CHECK_EQ(static_cast<bool>(structure_of(y)), c.keeps);
    CHECK_LE(difference(cast(dense(y), DType::f64), c.f(plain)), 1e-15);
  }
}

TEST_CASE("one_hot: an op that does not know it reads the dense twin, and the gate keeps its gradient") {
  const Tensor index = tensor({{1, -1}, {0, 2}}, DType::i64);
  const auto f = [&](Args x) { return exp(unsqueeze(x[0], -1) * one_hot(index, 3)); };
  CHECK_GRADIENTS(f, {random_tensor({2, 2}, 3)}, {.order = 2});

  // the trap: a twin made under no_grad must not be reused without its gradient
  Tensor gate = ones({2, 2}, DType::f64);
  gate.requires_grad_();
  const Tensor combine = unsqueeze(gate, -1) * one_hot(index, 3);
  {
    no_grad guard;
    CHECK_EQ(exp(combine).shape(), Shape{2, 2, 3});
  }
  const std::vector<double> g = grad(sum(exp(combine)), {gate})[0].to_vector<double>();
  CHECK_EQ(g[1], 0);  // an empty row
  CHECK_GT(g[0], 2.7);
}

TEST_CASE("one_hot: prints what it is") {
  const std::string on = default_device() == Device::cpu ? "" : " cuda";
  CHECK_EQ(to_string(one_hot(tensor({0, 1}, DType::i64), 3)), "one_hot(rows [2], classes [3])  bool [2, 3]" + on);
  const Tensor hot = one_hot(tensor({{0, -1}, {2, 1}}, DType::i64), 3);
  CHECK_EQ(to_string(hot), "one_hot(rows [2, 2], classes [3]; 1 empty)  bool [2, 2, 3]" + on);
  CHECK_EQ(to_string(permute(hot, {2, 0, 1})),
           "one_hot(rows [2, 2], classes [3]; axes class 0, row 0, row 1; 1 empty)  bool [3, 2, 2]" + on);
  CHECK_EQ(
      to_string(sum(ones({2, 2, 1}) * hot, 1)),
      "scale * one_hot(rows [2, 2], classes [3]; axes row 0, class 0; summed over row 1; 1 empty)  f32 [2, 3]" + on);
}

TEST_CASE("routes: the same bits for 1, 2 and 3 threads, duplicates included") {
  const int before = num_threads();
  const i64 rows = 5000, classes = 70;
  const Tensor index = random_index({3, rows}, classes, 5), x = random_tensor({3, rows, 9}, 1),
               z = random_tensor({3, classes, 9}, 2);
  const RoutesRef routes = one_hot_of(one_hot(index, classes))->routes();
  std::vector<std::vector<double>> seen;
  for (int threads : {3, 2, 1}) {  // 1 last: it could leave in memory what others forget to write
    set_num_threads(threads);
    std::vector<double> all = route_sum(routes, {}, x, {0, 1, kFeature}, {0, ~0, kFeature}).to_vector<double>();
    for (const Tensor& t : {route_sum(routes, {}, x, {0, 1, kFeature}, {~0, kFeature}),
                            route_dot(routes, x, {0, 1, kFeature}, z, {0, ~0, kFeature})})
      for (double v : t.to_vector<double>()) all.push_back(v);
    seen.push_back(all);
  }
  set_num_threads(before);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[0] == seen[2]);
}

TEST_CASE("one_hot: its dense values and its index strided, no rows") {
  for (const Shape& shape : {Shape{3, 4}, Shape{0, 4}, Shape{1}}) {
    const Tensor index = random_index(shape, 5, 7);
    check_op({.name = "one_hot",
              .op = [](Args x) { return unsqueeze(x[1], -1) * one_hot(x[0], 5); },
              .reference =
                  [](Args x) {
                    const auto times = [](const std::vector<double>& v) { return v[0] * v[1]; };
                    return naive_map(times)({unsqueeze(x[1], -1), naive_one_hot(x[0], 5)});
                  },
              .inputs = {Input::fixed(index), shape}});
    check_op({.name = "one_hot",
              .op = [](Args x) { return dense(one_hot(x[0], 5)); },
              .reference = [](Args x) { return naive_one_hot(x[0], 5); },
              .inputs = {Input::fixed(cast(index, DType::i32))},
              .order = 0});
  }
}

TEST_CASE("route_sum and route_dot: order 2, strided and empty operands, error texts") {
  for (i64 features : {3, 0}) {
    const Tensor index = random_index({2, 4}, 5, 3);
    const RoutesRef routes = one_hot_of(one_hot(index, 5))->routes();
    check_op({.name = "route_sum",
              .op =
                  [&](Args x) {
                    return route_sum(routes, x[0], x[1], {0, 1, kFeature}, {0, ~0, kFeature});
                  },
              .reference =
                  [&](Args x) {
                    Tensor y = zeros({2, 5, features}, DType::f64);
                    for_each_index({2, 4, features}, [&](const std::vector<i64>& at) {
                      const i64 to = static_cast<i64>(value_at(index, {at[0], at[1]}));
                      const std::vector<i64> place{at[0], to, at[2]};
                      if (to >= 0)
                        set_value(y, place, value_at(y, place) + value_at(x[0], {at[0], at[1]}) * value_at(x[1], at));
                    });
                    return y;
                  },
              .inputs = {{2, 4}, Shape{2, 4, features}}});
    check_op({.name = "route_dot",
              .op =
                  [&](Args x) {
                    return route_dot(routes, x[0], {0, 1, kFeature}, x[1], {0, ~0, kFeature});
                  },
              .reference =
                  [&](Args x) {
                    Tensor d = zeros({2, 4}, DType::f64);
                    for_each_index({2, 4, features}, [&](const std::vector<i64>& at) {
                      const i64 c = static_cast<i64>(value_at(index, {at[0], at[1]}));
                      const std::vector<i64> row{at[0], at[1]};
                      if (c >= 0)
                        set_value(d, row, value_at(d, row) + value_at(x[0], at) * value_at(x[1], {at[0], c, at[2]}));
                    });
                    return d;
                  },
              .inputs = {Shape{2, 4, features}, Shape{2, 5, features}}});
  }
  const RoutesRef routes = one_hot_of(one_hot(tensor({0, 1}, DType::i64), 3))->routes();
  CHECK_THROWS_WITH_AS(route_sum(routes, {}, zeros({3, 4}), {0, kFeature}, {~0, kFeature}),
                       "route_sum: axes must have the sizes of their rows and classes; got x [3, 4] for rows [2] and "
                       "classes [3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(route_dot(routes, zeros({2, 4}, DType::i64), {0, kFeature}, zeros({3, 4}), {~0, kFeature}),
                       "route_dot: operands must have one dtype; got i64 [2, 4] and f32 [3, 4]", DTypeError);
  const Shape large{2, i64{1} << 50};  // refused before a result is allocated
  CHECK_THROWS_WITH_AS(route_sum(routes, {}, expand(zeros({}, DType::boolean), large), {0, kFeature}, {~0, kFeature}),
                       "route_sum: x must be a number where rows are added up; got bool", DTypeError);
}

TEST_CASE("route_dot: as many row axes as a tensor can have, none of them in the operands") {
  Shape shape;
  for (int i = 0; i < kMaxRank; ++i) shape.push_back(i % 5 == 0 ? 2 : 1);
  const Tensor index = random_index(shape, 4, 3);
  const RoutesRef routes = one_hot_of(one_hot(reshape(index, {index.size()}), 4))->routes();
  const RoutesRef wide = std::make_shared<Routes>(shape, std::vector<Tensor>{index}, Shape{4});
  const Tensor x = random_tensor({3}, 1), z = random_tensor({4, 3}, 2);
  const Tensor flat = route_dot(routes, x, {kFeature}, z, {~0, kFeature});
  const std::vector<i64> classes = index.to_vector<i64>();
  for (i64 r = 0; r < index.size(); ++r) {
    double expected = 0;
    const i64 c = classes[static_cast<std::size_t>(r)];
    for (i64 i = 0; c >= 0 && i < 3; ++i) expected += value_at(x, {i}) * value_at(z, {c, i});
    CHECK(value_at(flat, {r}) == doctest::Approx(expected));
  }
  CHECK(route_dot(wide, x, {kFeature}, z, {~0, kFeature}).to_vector<double>() == flat.to_vector<double>());
}

#include "ops/autodiff/gradcheck.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/choose.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// x^2 with a gradient that is right but for a factor per element.
Function square_with_factors(const Tensor& factors) {
  return [factors](const std::vector<Tensor>& x) {
    return record("planted", square(x[0].detach()), {x[0]}, saves(kX0),
                  [factors](const GradArgs& g) -> Grads { return {g.dy * g.in(0) * 2.0 * factors}; });
  };
}

// The first element of x that is no smaller than the others, doubled: a piecewise linear function of a choice.
Tensor doubled_maximum(const std::vector<Tensor>& x) {
  const Tensor at = choose(
      "maximum", x[0],
      [&] {
        const std::vector<double> v = x[0].to_vector<double>();
        return scalar(static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin()), DType::i64);
      },
      [](const Tensor&) { return 0.0; });
  return 2.0 * x[0][static_cast<i64>(at.item())];
}

}  // namespace

TEST_CASE("gradcheck: right gradients of order 1 and 2 pass, for several inputs") {
  const Function f = [](const std::vector<Tensor>& x) { return sin(x[0]) * exp(x[1]) + square(x[0]) * x[0]; };
  const GradReport report = gradcheck(f, {random_tensor({3, 4}, 1), random_tensor({4}, 2)}, {.order = 2});
  CHECK(report.ok);
  CHECK(report.checked == 2 * (12 + 1 + 4 + 1));
  CHECK(report.reason.empty());
  CHECK_GRADIENTS(f, {random_tensor({2}, 3), random_tensor({2}, 4)});
  CHECK_GRADIENTS(f, {random_tensor({2}, 3), random_tensor({2}, 4)}, {.order = 2});
  CHECK_GRADIENTS(f, {zeros({0}, DType::f64), zeros({0}, DType::f64)}, {.order = 2});
}

TEST_CASE("gradcheck: a planted wrong gradient is found and its worst element named") {
  const Tensor x = tensor({{1, 2, 3}, {4, 5, 6}}, DType::f64);
  const GradReport report = gradcheck(square_with_factors(tensor({{1, 1, 1.01}, {1, 1.5, 1}}, DType::f64)), {x});
  CHECK_FALSE(report.ok);
  CHECK(report.order == 1);
  CHECK(report.input == 0);
  CHECK(report.element == 4);
  CHECK(report.analytic == doctest::Approx(1.5 * report.numeric).epsilon(1e-6));
  CHECK(report.text().starts_with("gradient of order 1, input 0, element 4: numeric "));
  CHECK(report.inputs[0].text().starts_with("input 0 [2, 3]: WRONG, worst element 4 = [1, 1]: numeric "));
  CHECK(report.inputs[0].relative() == doctest::Approx(1.0 / 3).epsilon(1e-6));
  CHECK(gradcheck(square_with_factors(ones({2, 3}, DType::f64)), {x}).ok);
}

TEST_CASE("gradcheck: the second input's fault is named as input 1") {
  const Function f = [](const std::vector<Tensor>& x) {
    return x[0] + square_with_factors(tensor({1, 3}, DType::f64))({x[1]});
  };
  const GradReport report = gradcheck(f, {random_tensor({2}, 1), random_tensor({2}, 2, 0.5, 1)});
  CHECK_FALSE(report.ok);
  CHECK(report.input == 1);
  CHECK(report.element == 1);
}

TEST_CASE("gradcheck: a gradient of the gradient that is missing is found at order 2 only") {
  const Function f = [](const std::vector<Tensor>& x) {
    return record("planted", square(x[0].detach()), {x[0]}, saves(kX0),
                  [](const GradArgs& g) -> Grads { return {g.dy * g.in(0).detach() * 2.0}; });
  };
  const Tensor x = random_tensor({3}, 1, 0.5, 1);
  CHECK(gradcheck(f, {x}).ok);
  const GradReport report = gradcheck(f, {x}, {.order = 2});
  CHECK_FALSE(report.ok);
  CHECK(report.order == 2);
}

TEST_CASE("gradcheck: NaN fails, in the gradient or in the value, and is the worst there is") {
  const double nan = std::nan("");
  const Tensor x = tensor({1, 2, 3}, DType::f64);
  const GradReport analytic = gradcheck(square_with_factors(tensor({2, nan, 3}, DType::f64)), {x});
  CHECK_FALSE(analytic.ok);
  CHECK(analytic.element == 1);
  CHECK(std::isnan(analytic.analytic));
  const GradReport numeric = gradcheck([](const std::vector<Tensor>& in) { return log(in[0]); }, {-1.0 * x});
  CHECK_FALSE(numeric.ok);
  CHECK(std::isnan(numeric.numeric));
}

TEST_CASE("gradcheck: a step that flips a choice is reported, not compared; freeze_routes checks the smooth part") {
  const Tensor apart = tensor({1, 3, 2}, DType::f64), tie = tensor({1, 3, 3}, DType::f64);
  CHECK(gradcheck(doubled_maximum, {apart}).ok);
  const GradReport report = gradcheck(doubled_maximum, {tie});
  CHECK_FALSE(report.ok);
  CHECK(report.element == 1);
  CHECK(report.text() ==
        "gradient of order 1, input 0, element 1: a step of -1e-05 changes a choice, so there is no derivative to "
        "compare (choice 0 (maximum []): element 0 is 1 and 2; its margin is 0); use other inputs (redraw), a smaller "
        "eps or freeze_routes");
  CHECK(gradcheck(doubled_maximum, {tie}, {.freeze_routes = true}).ok);
  CHECK(gradcheck(doubled_maximum, {tie}, {.order = 2, .freeze_routes = true}).ok);
}

TEST_CASE("gradcheck: a margin that a step nearly uses up is refused, with its name, size and eps; redraw moves away") {
  // the largest of three by a margin of 1.5 eps: steps of one element do not flip it, but they come near
  const Function f = [](const std::vector<Tensor>& in) { return top_k(in[0], 1).values; };
  const Tensor near = tensor({1, 3, 3 - 1.5e-5}, DType::f64);
  const GradReport report = gradcheck(f, {near}, {.names = {"logits"}});
  CHECK_FALSE(report.ok);
  CHECK(report.flips);
  CHECK(
      report.text() ==
      "gradient of order 1, input 0 (logits), element 1: a step of 1e-05 could change choice 0 (top_k [1]): its margin "
      "is 1.5e-05, and the step moves that by 1e-05; use other inputs (redraw), a smaller eps or freeze_routes");
  CHECK(gradcheck(f, {near}, {.eps = 1e-6}).ok);
  CHECK(gradcheck(f, {near}, {.freeze_routes = true}).ok);
  const GradReport again = gradcheck(f, {near}, {.redraw = 5});
  CHECK(again.ok);
  CHECK(again.redrawn > 0);
  CHECK_FALSE(again.flips);
}

TEST_CASE("gradcheck: redraw gives up after the given number, and does not hide a wrong gradient") {
  const Function restless = [](const std::vector<Tensor>& in) {  // a step of eps turns the sine by 10 radians
    return top_k(concat({sin(in[0] * 1e6), zeros({1}, DType::f64)}, 0), 1).values;
  };
  const GradReport report = gradcheck(restless, {random_tensor({4}, 1)}, {.redraw = 3});
  CHECK_FALSE(report.ok);
  CHECK((report.flips && report.redrawn == 3));
  const GradReport wrong =
      gradcheck(square_with_factors(tensor({1, 2}, DType::f64)), {tensor({1, 2}, DType::f64)}, {.redraw = 3});
  CHECK_FALSE(wrong.ok);
  CHECK(wrong.redrawn == 0);
}

TEST_CASE("gradcheck: ties between scores that no input moves are no reason to refuse") {
  const Function f = [](const std::vector<Tensor>& in) {
    const Tensor chosen = top_k(zeros({3}, DType::f64), 1).indices;
    return index_select(in[0], 0, chosen);
  };
  CHECK(gradcheck(f, {random_tensor({3}, 1)}).ok);
}

TEST_CASE("gradcheck: reports every input, and says which outcome no choice took") {
  const Function f = [](const std::vector<Tensor>& in) {
    const Tensor chosen = top_k(in[0], 1, 1).indices;  // [2, 1], of 3 experts
    return index_select(in[1], 0, reshape(chosen, {2})) * take_along(in[0], 1, chosen);
  };
  const std::vector<Tensor> xs{tensor({{3, 1, 2}, {2.5, 0, 1}}, DType::f64), random_tensor({3, 2}, 1),
                               ones({2}, DType::f64)};
  const GradReport report = gradcheck(f, xs, {.names = {"scores", "experts", "unused"}});
  CHECK(report.ok);
  REQUIRE(report.inputs.size() == 3);
  CHECK(report.inputs[0].note.empty());
  CHECK(report.inputs[1].note == "no gradient for 1, 2, which choice 0 (top_k [2, 1]) never takes");
  CHECK(report.inputs[2].text().starts_with("unused [2]: ok, worst "));
  CHECK(report.inputs[2].text().ends_with(
      ": numeric 0, analytic 0, relative error 0; no gradient, and the output does not change with it"));
  CHECK(report.inputs[0].relative() < 1e-8);
  CHECK(report.table().find("\n  experts [3, 2]: ok, worst ") != std::string::npos);
  CHECK_THROWS_WITH_AS(gradcheck(f, xs, {.names = {"scores"}}),
                       "gradcheck: there must be one name for each x; got 1 for 3", Error);
}

TEST_CASE("gradcheck: large inputs are sampled; the random direction sees every element") {
  std::vector<double> factors(1000, 1);
  factors[777] = 4;
  const Function f = square_with_factors(from_vector(factors, {1000}));
  const GradReport report = gradcheck(f, {random_tensor({1000}, 1, 0.5, 1)}, {.most = 20});
  CHECK_FALSE(report.ok);
  CHECK(report.checked == 21);
}

TEST_CASE("gradcheck: what cannot be checked says so") {
  const GradReport report =
      gradcheck([](const std::vector<Tensor>&) { return scalar(1, DType::f64); }, {scalar(1, DType::f64)});
  CHECK_FALSE(report.ok);
  CHECK(report.text() == "gradient of order 1: the output depends on no input");
  CHECK_THROWS_WITH_AS(gradcheck(doubled_maximum, {zeros({2})}), "gradcheck: x must be f64; got f32", DTypeError);
}

TEST_CASE("gradcheck: works where recording is off, and leaves it off") {
  no_grad guard;
  CHECK(gradcheck([](const std::vector<Tensor>& x) { return exp(x[0]); }, {random_tensor({2}, 1)}).ok);
  CHECK_FALSE(recording());
}

TEST_CASE("gradcheck: where a choice flips, nothing is said to be lost") {
  const Tensor near = tensor({1, 1 + 1e-7}, DType::f64);
  const GradReport report = gradcheck([](const std::vector<Tensor>& x) { return top_k(x[0], 1).values; }, {near});
  REQUIRE_FALSE(report.ok);
  CHECK(report.flips);
  CHECK(report.inputs[0].note == "no gradient for 0, which choice 0 (top_k [1]) never takes");
  CHECK(report.inputs[0].text().rfind("input 0 [2]: not compared: a step of", 0) == 0);
}

TEST_CASE("gradcheck: options that check nothing are refused") {
  const Function f = [](const std::vector<Tensor>& x) { return x[0] * x[0]; };
  const std::vector<Tensor> xs{ones({2}, DType::f64)};
  CHECK_THROWS_WITH_AS(gradcheck(f, xs, {.order = 3}), "gradcheck: order must be 1 or 2; got 3", Error);
  CHECK_THROWS_WITH_AS(gradcheck(f, xs, {.eps = 0}), "gradcheck: eps must be above 0; got 0", Error);
}

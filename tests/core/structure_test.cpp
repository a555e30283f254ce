#include "core/structure.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/print.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

using namespace moegrad;

namespace {

// The least a structure can be: `n` times one scale.
struct Repeated final : Structure {
  Repeated(const Tensor& s, i64 count) : scale(s), n(count) {}
  Tensor dense() const override {
    if (!cached) cached = moegrad::mul(scale, ones({n}, scale.dtype(), scale.device()));
    return cached;
  }
  bool requires_grad() const override { return scale.requires_grad(); }
  Tensor detach() const override { return wrap(scale.detach(), n); }
  std::string describe() const override { return "repeated"; }
  static Tensor wrap(const Tensor& scale, i64 n) {
    auto* body = new TensorBody;
    Tensor y{Ref<TensorBody>(body)};
    body->dtype = scale.dtype();
    body->device = scale.device();
    body->shape = {n};
    body->strides = row_major(body->shape);
    body->structure = Ref<Structure>(new Repeated(scale, n));
    return y;
  }
  Tensor scale;
  i64 n;
  mutable Tensor cached;
};

}  // namespace

TEST_CASE("structure: an op that does not know it works on the dense form, gradient included") {
  const std::string where = default_device() == Device::cpu ? "" : " cuda";
  Tensor scale = scalar(3, DType::f64);
  scale.requires_grad_();
  const Tensor x = Repeated::wrap(scale, 4);
  CHECK(structure_of(x) != nullptr);
  CHECK(x.requires_grad());
  CHECK(x.to_vector<double>() == std::vector<double>(4, 3.0));
  const Tensor y = sum(x * x);
  CHECK(y.item() == 36);
  CHECK(grad(y, {scale})[0].item() == 24);
  CHECK_FALSE(x.detach().requires_grad());
  CHECK(structure_of(x.detach()) != nullptr);
  CHECK(to_string(x) == "repeated  f64 [4]" + where + " requires_grad");
}

TEST_CASE("structure: it is no leaf, has no gradient of its own, and cannot be written to") {
  Tensor scale = scalar(3, DType::f64);
  scale.requires_grad_();
  Tensor x = Repeated::wrap(scale, 4);
  CHECK_THROWS_WITH_AS(
      x.requires_grad_(),
      "requires_grad_: a structured one-hot has no gradient of its own; use its scale, or make it dense first",
      GradError);
  CHECK_THROWS_WITH_AS(
      grad(sum(x), {x}),
      "grad: a structured one-hot has no gradient of its own; ask for that of its scale, or make it dense first",
      GradError);
  const char* text = "assign: a structured one-hot has no storage to write to; make it dense first";
  CHECK_THROWS_WITH_AS(x.assign(zeros({4}, DType::f64)), text, GradError);
  no_grad guard;
  CHECK_THROWS_WITH_AS(x.assign(zeros({4}, DType::f64)), text, GradError);
}

TEST_CASE("structure: backward starts from one, and a structured dy is a dy") {
  Tensor scale = scalar(3, DType::f64), w = full({4}, 2, DType::f64);
  scale.requires_grad_();
  w.requires_grad_();
  backward(Repeated::wrap(scale, 4), ones({4}, DType::f64));
  CHECK(scale.grad().item() == 4);
  CHECK(grad(w, {w}, Repeated::wrap(scalar(5, DType::f64), 4))[0].to_vector<double>() == std::vector<double>(4, 5.0));
}

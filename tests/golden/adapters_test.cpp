// The adapters take arguments as PyTorch 1.13 does: left out, null, one axis or a list, numbers as words.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/views.h"
#include "tests/golden/run.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::golden;

namespace {

const Tensor& the_x() {  // [2, 3]
  static const Tensor made = tensor({{1, 5, 2}, {4, 3, 9}}, DType::f64);
  return made;
}

Outputs call(const std::string& op, const std::string& args, const std::vector<Tensor>& in) {
  static const Ops ops = all_ops();
  Inputs x(in);
  Arguments a(Json::parse(args), DType::f64);
  Outputs y = ops.at(op)(x, a);
  x.check_all_read();
  a.check_all_read();
  return y;
}

// "[2, 3] 1 5 2 4 3 9": the first output.
std::string show(const std::string& op, const std::string& args, const std::vector<Tensor>& in) {
  const Tensor y = call(op, args, in).at(0);
  std::string text = to_string(y.shape());
  for (const double v : y.to_vector<double>()) text += fmt::format(" {:.6g}", v);
  return text;
}

}  // namespace

TEST_CASE("golden adapters: axes as a number, a list, null or left out") {
  CHECK(show("sum", "{}", {the_x()}) == "[] 24");
  CHECK(show("sum", R"({"dim": null, "keepdim": true})", {the_x()}) == "[1, 1] 24");
  CHECK(show("sum", R"({"dim": 0})", {the_x()}) == "[3] 5 8 11");
  CHECK(show("sum", R"({"dim": [-1, 0], "keepdim": true})", {the_x()}) == "[1, 1] 24");
  CHECK(show("mean", R"({"dim": [-1]})", {the_x()}) == "[2] 2.66667 5.33333");
  CHECK(show("amax", R"({"dim": []})", {the_x()}) == "[] 9");
  CHECK(show("argmax", R"({"dim": null, "keepdim": false})", {the_x()}) == "[] 5");
  CHECK(show("argmax", R"({"dim": null, "keepdim": true})", {the_x()}) == "[1, 1] 5");
  CHECK(show("argmin", R"({"dim": -2, "keepdim": true})", {the_x()}) == "[1, 3] 0 1 0");
  CHECK(show("prod", "{}", {the_x()}) == "[] 1080");
  CHECK(show("logsumexp", R"({"dim": [0, 1]})", {the_x() * 0.0}) == "[] 1.79176");
  CHECK(show("var", R"({"dim": 1, "correction": 0})", {the_x()}) == "[2] 2.88889 6.88889");
  CHECK(show("var", R"({"unbiased": false})", {the_x()}) == "[] 6.66667");
  CHECK(show("std", R"({"dim": null})", {the_x()}) == "[] 2.82843");
  CHECK(show("vector_norm", "{}", {the_x()}) == "[] 11.6619");
  CHECK(show("vector_norm", R"({"ord": "-inf", "dim": 1})", {the_x()}) == "[2] 1 3");
  CHECK(show("vector_norm", R"({"ord": 3, "dim": [0]})", {the_x()}) == "[3] 4.02073 5.3368 9.0328");
  CHECK(show("vector_norm", R"({"ord": 0})", {the_x()}) == "[] 6");
  CHECK_THROWS_WITH_AS(call("sum", R"({"axis": 0})", {the_x()}), "unknown argument: axis = 0", CaseError);
}

TEST_CASE("golden adapters: defaults of arithmetic, choices, indexing") {
  CHECK(show("add", R"({"alpha": 2})", {the_x(), the_x()}) == "[2, 3] 3 15 6 12 9 27");
  CHECK(show("sub", "{}", {the_x(), the_x()}) == "[2, 3] 0 0 0 0 0 0");
  CHECK(show("div", R"({"rounding_mode": null})", {the_x(), the_x()}) == "[2, 3] 1 1 1 1 1 1");
  CHECK(show("div", R"({"rounding_mode": "floor"})", {the_x(), the_x() * 0.0 - 2.0}) == "[2, 3] -1 -3 -1 -2 -2 -5");
  CHECK(show("clamp", R"({"min": null, "max": 3})", {the_x()}) == "[2, 3] 1 3 2 3 3 3");
  const Tensor mask = tensor({{1, 0, 0}, {0, 0, 1}}, DType::boolean);
  CHECK(show("masked_fill", R"({"value": "-inf"})", {the_x(), mask}) == "[2, 3] -inf 5 2 4 3 -inf");
  CHECK(show("masked_fill", R"({"value": "-finfo.max"})", {the_x(), mask}) ==
        "[2, 3] -1.79769e+308 5 2 4 3 -1.79769e+308");
  CHECK(show("argsort", R"({"stable": true})", {the_x()}) == "[2, 3] 0 2 1 1 0 2");
  CHECK(show("topk", R"({"k": 1, "largest": false})", {the_x()}) == "[2, 1] 1 3");
  CHECK(show("one_hot", "{}", {tensor({2, 0}, DType::i64)}) == "[2, 3] 0 0 1 1 0 0");
  CHECK(show("one_hot", R"({"num_classes": -1})", {tensor({1}, DType::i64)}) == "[1, 2] 0 1");
  CHECK(show("take_along_dim", R"({"dim": null})", {the_x(), tensor({5, 0}, DType::i64)}) == "[2] 9 1");
  CHECK(show("index_rows", "{}", {the_x(), tensor({-1}, DType::i64)}) == "[1, 3] 4 3 9");
  CHECK(show("embedding", R"({"padding_idx": null})", {tensor({1}, DType::i64), the_x()}) == "[1, 3] 4 3 9");
  CHECK(show("tril", "{}", {the_x()}) == "[2, 3] 1 0 0 4 3 0");
}

TEST_CASE("golden adapters: defaults of losses, norms, products") {
  const Tensor targets = tensor({1, 2}, DType::i64);
  CHECK(show("cross_entropy", "{}", {the_x() * 0.0, targets}) == "[] 1.09861");
  CHECK(show("cross_entropy", R"({"reduction": "sum", "ignore_index": 2})", {the_x() * 0.0, targets}) == "[] 1.09861");
  CHECK(show("mse_loss", R"({"reduction": "sum"})", {the_x(), the_x() * 0.0}) == "[] 136");
  CHECK(show("kl_div", "{}", {the_x() * 0.0, the_x() * 0.0 + 1.0}) == "[] 0");
  CHECK(show("layer_norm", R"({"normalized_shape": 3, "eps": 0})", {tensor({{1, 2, 3}}, DType::f64)}) ==
        "[1, 3] -1.22474 0 1.22474");
  CHECK(show("normalize", "{}", {tensor({{3, 4}}, DType::f64)}) == "[1, 2] 0.6 0.8");
  CHECK(show("linear", "{}", {the_x(), the_x()}) == "[2, 2] 30 37 37 106");
  CHECK(show("addmm", R"({"alpha": 0.5, "beta": 2})", {the_x(), eye(2, DType::f64), the_x()}) ==
        "[2, 3] 2.5 12.5 5 10 7.5 22.5");
  const Tensor image = reshape(arange(0, 16, 1, DType::f64), {1, 1, 4, 4});
  CHECK(show("avg_pool2d", R"({"kernel": [2, 2], "stride": null})", {image}) == "[1, 1, 2, 2] 2.5 4.5 10.5 12.5");
  CHECK(show("conv2d", R"({"stride": [2, 2], "padding": [0, 0]})", {image, ones({1, 1, 2, 2}, DType::f64)}) ==
        "[1, 1, 2, 2] 10 18 42 50");
  const Tensor q = reshape(the_x(), {1, 1, 2, 3});
  CHECK(show("sdpa", R"({"dropout_p": 0.0, "is_causal": false, "scale": null})", {q, q, q * 0.0}) ==
        "[1, 1, 2, 3] 0 0 0 0 0 0");
  CHECK_THROWS_WITH_AS(call("sdpa", R"({"dropout_p": 0.5})", {q, q, q}),
                       "dropout_p: the file does not say what was dropped", CaseError);
}

TEST_CASE("golden adapters: defaults of shapes") {
  CHECK(show("cat", "{}", {the_x(), the_x()}) == "[4, 3] 1 5 2 4 3 9 1 5 2 4 3 9");
  CHECK(show("stack", R"({"dim": -1})", {tensor({1, 2}), tensor({3, 4})}) == "[2, 2] 1 3 2 4");
  CHECK(show("squeeze", "{}", {reshape(the_x(), {1, 2, 1, 3})}) == "[2, 3] 1 5 2 4 3 9");
  CHECK(show("squeeze", R"({"dim": 0})", {the_x()}) == "[2, 3] 1 5 2 4 3 9");
  CHECK(show("flatten", "{}", {the_x()}) == "[6] 1 5 2 4 3 9");
  CHECK(show("slice", R"({"dim": 1, "start": -2, "stop": null})", {the_x()}) == "[2, 2] 5 2 3 9");
  CHECK(show("narrow", R"({"dim": 1, "start": -2, "length": 1})", {the_x()}) == "[2, 1] 5 3");
  CHECK(show("pad", R"({"pad": [1, 0]})", {the_x()}) == "[2, 4] 0 1 5 2 0 4 3 9");
  CHECK(show("roll", R"({"shifts": 1})", {the_x()}) == "[2, 3] 9 1 5 2 4 3");
  CHECK(show("roll", R"({"shifts": 1, "dims": 1})", {the_x()}) == "[2, 3] 2 1 5 9 4 3");
  CHECK(show("flip", R"({"dims": 1})", {the_x()}) == "[2, 3] 2 5 1 9 3 4");
  CHECK(show("repeat_interleave", R"({"repeats": 2})", {tensor({1, 2})}) == "[4] 1 1 2 2");
  CHECK(show("tile", R"({"dims": 2})", {the_x()}) == "[2, 6] 1 5 2 1 5 2 4 3 9 4 3 9");
  CHECK(show("expand", R"({"shape": [2, -1, 3]})", {reshape(the_x(), {2, 1, 3})}) == "[2, 1, 3] 1 5 2 4 3 9");
  CHECK(show("movedim", R"({"source": [0], "destination": [1]})", {the_x()}) == "[3, 2] 1 4 5 3 2 9");
  CHECK(call("split", R"({"size": 2, "dim": -1})", {the_x()}).size() == 2);
  CHECK(call("unbind", "{}", {the_x()}).size() == 2);
  CHECK(call("chunk", R"({"chunks": 4, "dim": 1})", {the_x()}).size() == 3);
}

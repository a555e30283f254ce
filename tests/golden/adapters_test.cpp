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

const Tensor kX = tensor({{1, 5, 2}, {4, 3, 9}}, DType::f64);  // [2, 3]

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
  CHECK(show("sum", "{}", {kX}) == "[] 24");
  CHECK(show("sum", R"({"dim": null, "keepdim": true})", {kX}) == "[1, 1] 24");
  CHECK(show("sum", R"({"dim": 0})", {kX}) == "[3] 5 8 11");
  CHECK(show("sum", R"({"dim": [-1, 0], "keepdim": true})", {kX}) == "[1, 1] 24");
  CHECK(show("mean", R"({"dim": [-1]})", {kX}) == "[2] 2.66667 5.33333");
  CHECK(show("amax", R"({"dim": []})", {kX}) == "[] 9");
  CHECK(show("argmax", R"({"dim": null, "keepdim": false})", {kX}) == "[] 5");
  CHECK(show("argmax", R"({"dim": null, "keepdim": true})", {kX}) == "[1, 1] 5");
  CHECK(show("argmin", R"({"dim": -2, "keepdim": true})", {kX}) == "[1, 3] 0 1 0");
  CHECK(show("prod", "{}", {kX}) == "[] 1080");
  CHECK(show("logsumexp", R"({"dim": [0, 1]})", {kX * 0.0}) == "[] 1.79176");
  CHECK(show("var", R"({"dim": 1, "correction": 0})", {kX}) == "[2] 2.88889 6.88889");
  CHECK(show("var", R"({"unbiased": false})", {kX}) == "[] 6.66667");
  CHECK(show("std", R"({"dim": null})", {kX}) == "[] 2.82843");
  CHECK(show("vector_norm", "{}", {kX}) == "[] 11.6619");
  CHECK(show("vector_norm", R"({"ord": "-inf", "dim": 1})", {kX}) == "[2] 1 3");
  CHECK(show("vector_norm", R"({"ord": 3, "dim": [0]})", {kX}) == "[3] 4.02073 5.3368 9.0328");
  CHECK(show("vector_norm", R"({"ord": 0})", {kX}) == "[] 6");
  CHECK_THROWS_WITH_AS(call("sum", R"({"axis": 0})", {kX}), "unknown argument: axis = 0", CaseError);
}

TEST_CASE("golden adapters: defaults of arithmetic, choices, indexing") {
  CHECK(show("add", R"({"alpha": 2})", {kX, kX}) == "[2, 3] 3 15 6 12 9 27");
  CHECK(show("sub", "{}", {kX, kX}) == "[2, 3] 0 0 0 0 0 0");
  CHECK(show("div", R"({"rounding_mode": null})", {kX, kX}) == "[2, 3] 1 1 1 1 1 1");
  CHECK(show("div", R"({"rounding_mode": "floor"})", {kX, kX * 0.0 - 2.0}) == "[2, 3] -1 -3 -1 -2 -2 -5");
  CHECK(show("clamp", R"({"min": null, "max": 3})", {kX}) == "[2, 3] 1 3 2 3 3 3");
  const Tensor mask = tensor({{1, 0, 0}, {0, 0, 1}}, DType::boolean);
  CHECK(show("masked_fill", R"({"value": "-inf"})", {kX, mask}) == "[2, 3] -inf 5 2 4 3 -inf");
  CHECK(show("masked_fill", R"({"value": "-finfo.max"})", {kX, mask}) == "[2, 3] -1.79769e+308 5 2 4 3 -1.79769e+308");
  CHECK(show("argsort", R"({"stable": true})", {kX}) == "[2, 3] 0 2 1 1 0 2");
  CHECK(show("topk", R"({"k": 1, "largest": false})", {kX}) == "[2, 1] 1 3");
  CHECK(show("one_hot", "{}", {tensor({2, 0}, DType::i64)}) == "[2, 3] 0 0 1 1 0 0");
  CHECK(show("one_hot", R"({"num_classes": -1})", {tensor({1}, DType::i64)}) == "[1, 2] 0 1");
  CHECK(show("take_along_dim", R"({"dim": null})", {kX, tensor({5, 0}, DType::i64)}) == "[2] 9 1");
  CHECK(show("index_rows", "{}", {kX, tensor({-1}, DType::i64)}) == "[1, 3] 4 3 9");
  CHECK(show("embedding", R"({"padding_idx": null})", {tensor({1}, DType::i64), kX}) == "[1, 3] 4 3 9");
  CHECK(show("tril", "{}", {kX}) == "[2, 3] 1 0 0 4 3 0");
}

TEST_CASE("golden adapters: defaults of losses, norms, products") {
  const Tensor targets = tensor({1, 2}, DType::i64);
  CHECK(show("cross_entropy", "{}", {kX * 0.0, targets}) == "[] 1.09861");
  CHECK(show("cross_entropy", R"({"reduction": "sum", "ignore_index": 2})", {kX * 0.0, targets}) == "[] 1.09861");
  CHECK(show("mse_loss", R"({"reduction": "sum"})", {kX, kX * 0.0}) == "[] 136");
  CHECK(show("kl_div", "{}", {kX * 0.0, kX * 0.0 + 1.0}) == "[] 0");
  CHECK(show("layer_norm", R"({"normalized_shape": 3, "eps": 0})", {tensor({{1, 2, 3}}, DType::f64)}) ==
        "[1, 3] -1.22474 0 1.22474");
  CHECK(show("normalize", "{}", {tensor({{3, 4}}, DType::f64)}) == "[1, 2] 0.6 0.8");
  CHECK(show("linear", "{}", {kX, kX}) == "[2, 2] 30 37 37 106");
  CHECK(show("addmm", R"({"alpha": 0.5, "beta": 2})", {kX, eye(2, DType::f64), kX}) == "[2, 3] 2.5 12.5 5 10 7.5 22.5");
  const Tensor image = reshape(arange(0, 16, 1, DType::f64), {1, 1, 4, 4});
  CHECK(show("avg_pool2d", R"({"kernel": [2, 2], "stride": null})", {image}) == "[1, 1, 2, 2] 2.5 4.5 10.5 12.5");
  CHECK(show("conv2d", R"({"stride": [2, 2], "padding": [0, 0]})", {image, ones({1, 1, 2, 2}, DType::f64)}) ==
        "[1, 1, 2, 2] 10 18 42 50");
  const Tensor q = reshape(kX, {1, 1, 2, 3});
  CHECK(show("sdpa", R"({"dropout_p": 0.0, "is_causal": false, "scale": null})", {q, q, q * 0.0}) ==
        "[1, 1, 2, 3] 0 0 0 0 0 0");
  CHECK_THROWS_WITH_AS(call("sdpa", R"({"dropout_p": 0.5})", {q, q, q}),
                       "dropout_p: the file does not say what was dropped", CaseError);
}

TEST_CASE("golden adapters: defaults of shapes") {
  CHECK(show("cat", "{}", {kX, kX}) == "[4, 3] 1 5 2 4 3 9 1 5 2 4 3 9");
  CHECK(show("stack", R"({"dim": -1})", {tensor({1, 2}), tensor({3, 4})}) == "[2, 2] 1 3 2 4");
  CHECK(show("squeeze", "{}", {reshape(kX, {1, 2, 1, 3})}) == "[2, 3] 1 5 2 4 3 9");
  CHECK(show("squeeze", R"({"dim": 0})", {kX}) == "[2, 3] 1 5 2 4 3 9");
  CHECK(show("flatten", "{}", {kX}) == "[6] 1 5 2 4 3 9");
  CHECK(show("slice", R"({"dim": 1, "start": -2, "stop": null})", {kX}) == "[2, 2] 5 2 3 9");
  CHECK(show("narrow", R"({"dim": 1, "start": -2, "length": 1})", {kX}) == "[2, 1] 5 3");
  CHECK(show("pad", R"({"pad": [1, 0]})", {kX}) == "[2, 4] 0 1 5 2 0 4 3 9");
  CHECK(show("roll", R"({"shifts": 1})", {kX}) == "[2, 3] 9 1 5 2 4 3");
  CHECK(show("roll", R"({"shifts": 1, "dims": 1})", {kX}) == "[2, 3] 2 1 5 9 4 3");
  CHECK(show("flip", R"({"dims": 1})", {kX}) == "[2, 3] 2 5 1 9 3 4");
  CHECK(show("repeat_interleave", R"({"repeats": 2})", {tensor({1, 2})}) == "[4] 1 1 2 2");
  CHECK(show("tile", R"({"dims": 2})", {kX}) == "[2, 6] 1 5 2 1 5 2 4 3 9 4 3 9");
  CHECK(show("expand", R"({"shape": [2, -1, 3]})", {reshape(kX, {2, 1, 3})}) == "[2, 1, 3] 1 5 2 4 3 9");
  CHECK(show("movedim", R"({"source": [0], "destination": [1]})", {kX}) == "[3, 2] 1 4 5 3 2 9");
  CHECK(call("split", R"({"size": 2, "dim": -1})", {kX}).size() == 2);
  CHECK(call("unbind", "{}", {kX}).size() == 2);
  CHECK(call("chunk", R"({"chunks": 4, "dim": 1})", {kX}).size() == 3);
}

// The golden runner itself: it must fail where the numbers, the names or the files are wrong.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <sstream>

#include "core/atomic_file.h"
#include "core/autograd.h"
#include "nn/linear.h"
#include "nn/safetensors.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "tests/golden/layers.h"
#include "tests/golden/run.h"
#include "tests/support/check_op.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::golden;
using moegrad::test::TemporaryFolder;
using moegrad::test::write_text;

namespace {

constexpr const char* kSource = "tests/golden/data/g_ops_softmax.safetensors";

struct Run {
  int exit;
  std::string text, totals;
};
Run run(const Options& options) {
  std::ostringstream out;
  const int exit = run_folder(options, out);
  std::string text = out.str();
  const auto last = text.rfind('\n', text.size() - 2);
  return {exit, text, text.substr(last + 1, text.size() - last - 2)};
}

const Tensor& find(const TensorFile& file, const std::string& name) {
  for (const NamedTensor& t : file.tensors)
    if (t.name == name) return t.tensor;
  throw Error("no tensor " + name);
}

void nudge(const TensorFile& file, const std::string& name, double by) {
  const Tensor& x = find(file, name);
  std::vector<double> v = x.to_vector<double>();
  v[0] += by;
  x.assign(from_vector(v, x.shape(), x.dtype(), x.device()));
}

void edit_cases(TensorFile& file, const std::function<void(Json&)>& edit) {
  Json cases = Json::parse(file.metadata["cases"]);
  edit(cases);
  file.metadata["cases"] = cases.dump();
}

// A run over a copy of real reference numbers that `damage` changed.
Run run_damaged(const std::function<void(TensorFile&)>& damage) {
  TemporaryFolder folder;
  TensorFile file = load_safetensors(kSource);
  damage(file);
  save_safetensors(folder.file("copy.safetensors"), file);
  return run({.folder = folder.file("")});
}

}  // namespace

TEST_CASE("golden: a copy passes, and fails by one case for every damage that is done to it") {
  CHECK(run_damaged([](TensorFile&) {}).exit == 0);
  CHECK(run_damaged([](TensorFile&) {}).totals == "24 passed, 0 failed, 0 deviating");
  const std::pair<const char*, std::function<void(TensorFile&)>> damages[] = {
      {"out.0: e = ", [](TensorFile& f) { nudge(f, "softmax_01.out.0", 1e-8); }},
      {"out.0: element 0 is", [](TensorFile& f) { nudge(f, "softmax_01.out.0", NAN); }},
      {"grad.0: e = ", [](TensorFile& f) { nudge(f, "softmax_02.grad.0", 1e-8); }},
      {"grad.0: e = ", [](TensorFile& f) { nudge(f, "softmax_02.cotangent.0", 1e-6); }},
      {"unknown op 'softmix'", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["op"] = "softmix"; }); }},
      {"unknown argument: depth = 3", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["args"]["depth"] = 3; }); }},
      {"the argument 'dim' is missing", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["args"].clear(); }); }},
      {"must be a whole number", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["args"]["dim"] = "x"; }); }},
      {"softmax: axis", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["args"]["dim"] = 7; }); }},
      {"n_in is 2", [](TensorFile& f) { edit_cases(f, [](Json& c) { c[0]["n_in"] = 2; }); }},
      {"no tensor 'softmax_01.grad.9'",
       [](TensorFile& f) {
         f.tensors.push_back({"softmax_01.grad.9", scalar(0, DType::f64)});
       }},
      {"unknown input 1", [](TensorFile& f) {
         f.tensors.push_back({"softmax_01.in.1", scalar(0, DType::f64)});
         edit_cases(f, [](Json& c) { c[0]["n_in"] = 2; });
       }}};
  for (const auto& [text, damage] : damages) {
    const Run r = run_damaged(damage);
    CAPTURE(text);
    CAPTURE(r.text);
    CHECK(r.exit == 1);
    CHECK(r.totals == "23 passed, 1 failed, 0 deviating");
    if (std::string(text) != "no tensor 'softmax_01.grad.9'") CHECK(r.text.find(text) != std::string::npos);
  }
}

TEST_CASE("golden: a case that is not listed, or listed twice, fails the file") {
  const Run hidden = run_damaged([](TensorFile& f) { edit_cases(f, [](Json& c) { c.erase(3); }); });
  CHECK(hidden.totals == "0 passed, 1 failed, 0 deviating");
  CHECK(hidden.text.find("belongs to no case") != std::string::npos);
  const Run twice = run_damaged([](TensorFile& f) { edit_cases(f, [](Json& c) { c.push_back(c[3]); }); });
  CHECK(twice.text.find("is there twice") != std::string::npos);
  CHECK(twice.exit == 1);
  const Run text = run_damaged([](TensorFile& f) { f.metadata["cases"] = "[{"; });
  CHECK(text.text.find("the metadata's 'cases' is not JSON") != std::string::npos);
  CHECK(text.exit == 1);
}

TEST_CASE("golden: integers, dtypes and shapes are compared, too") {
  Comparison c(1e-9);
  c.check("a", tensor({1, 2}, DType::i64), tensor({1, 2}, DType::i32));
  c.check("b", tensor({1, 0}, DType::boolean), tensor({1, 0}, DType::i64));
  c.check("c", tensor({INFINITY, NAN, 1}), tensor({INFINITY, NAN, 1}));
  CHECK(c.passed());
  const auto reason = [](const Tensor& got, const Tensor& want) {
    Comparison one(1e-9);
    one.check("y", got, want);
    return one.reason();
  };
  CHECK(reason(tensor({1, 2}, DType::i64), tensor({1, 3}, DType::i64)) == "y: element 1 is 2, expected 3");
  CHECK(reason(tensor({1.0f}), tensor({1.0}, DType::f64)) == "y: dtype f32, expected f64");
  CHECK(reason(tensor({1}, DType::i64), tensor({1}, DType::f64)) == "y: dtype i64, expected f64");
  CHECK(reason(zeros({2, 1}), zeros({2})) == "y: shape [2, 1], expected [2]");
  CHECK(reason(tensor({NAN}), tensor({1})) == "y: element 0 is nan, expected 1");
  CHECK(reason(tensor({1e300}, DType::f64), tensor({INFINITY}, DType::f64)) == "y: element 0 is 1e+300, expected inf");
  CHECK(reason({}, tensor({1})) == "y: there is no such tensor; expected f32 [1]");
  Comparison lenient(1e-9, {"y"});
  lenient.check("y", tensor({1}), tensor({2}));
  CHECK((lenient.passed() && lenient.differed("y")));
  lenient.check("y", zeros({2}), tensor({2}));
  CHECK(lenient.reason() == "y: shape [2], expected [1]");
}

TEST_CASE("golden: files that are cut off, folders that are not there, filters that match nothing") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(run({.folder = folder.file("absent")}),
                       (folder.file("absent") + ": the folder cannot be read: No such file or directory").c_str(),
                       IoError);
  CHECK_THROWS_WITH_AS(run({.folder = folder.file("")}),
                       (folder.file("") + ": there is no .safetensors file in it").c_str(), IoError);
  const std::string whole = read_file(kSource);
  write_text(folder.file("cut.safetensors"), whole.substr(0, whole.size() / 2));
  CHECK(run({.folder = folder.file("")}).totals == "0 passed, 1 failed, 0 deviating");
  write_text(folder.file("whole.safetensors"), whole);
  CHECK(run({.folder = folder.file("")}).totals == "24 passed, 1 failed, 0 deviating");
  CHECK(run({.folder = folder.file(""), .filter = "whole"}).exit == 0);
  CHECK(run({.folder = folder.file(""), .filter = "whole/softmax_0"}).totals == "6 passed, 0 failed, 0 deviating");
  const Run none = run({.folder = folder.file(""), .filter = "whole/absent"});
  CHECK(none.exit == 1);
  CHECK(none.text == "no case matches 'whole/absent'\n0 passed, 0 failed, 0 deviating\n");
}

TEST_CASE("golden: a deviation must deviate, and must run") {
  CHECK(known_deviations().size() <= 12);
  static const Deviation table[] = {
      {"softmax", [](const Json& args) { return args.at("dim") == 0; }, "the reference is wrong", {"out.0"}}};
  TemporaryFolder folder;
  TensorFile file = load_safetensors(kSource);
  save_safetensors(folder.file("copy.safetensors"), file);
  CHECK(run({.folder = folder.file(""), .filter = "copy/softmax_01", .deviations = table}).totals ==
        "0 passed, 1 failed, 0 deviating");
  nudge(file, "softmax_01.out.0", 0.1);
  save_safetensors(folder.file("copy.safetensors"), file);
  const Run r = run({.folder = folder.file(""), .filter = "copy/softmax_01", .deviations = table});
  CHECK(r.exit == 0);
  CHECK(r.totals == "0 passed, 0 failed, 1 deviating");
  nudge(file, "softmax_01.grad.0", 0.1);  // not a deviation that is known
  save_safetensors(folder.file("copy.safetensors"), file);
  const Run worse = run({.folder = folder.file(""), .filter = "copy/softmax_01", .deviations = table});
  CHECK(worse.totals == "0 passed, 1 failed, 0 deviating");
  CHECK(worse.text.find("grad.0: e = ") != std::string::npos);
  nudge(file, "softmax_01.grad.0", -0.1);
  edit_cases(file, [](Json& c) { c[0]["args"]["depth"] = 3; });
  save_safetensors(folder.file("copy.safetensors"), file);
  CHECK(run({.folder = folder.file(""), .filter = "copy/softmax_01", .deviations = table}).totals ==
        "0 passed, 1 failed, 0 deviating");
}

TEST_CASE("golden: the report says what the lines say") {
  TemporaryFolder folder;
  std::filesystem::copy_file(kSource, folder.file("copy.safetensors"));
  const Run r = run({.folder = folder.file(""), .filter = "copy", .report = folder.file("report.json")});
  const Json report = Json::parse(read_file(folder.file("report.json")));
  CHECK(report["passed"] == 24);
  CHECK(report["failed"] == 0);
  REQUIRE(report["cases"].size() == 24);
  CHECK(report["cases"][0]["case"] == "softmax_01");
  CHECK(report["cases"][0]["tensors"] == 2);
  CHECK(report["cases"][0]["status"] == "PASS");
}

TEST_CASE("golden: arguments of every kind; what is not read is unknown") {
  Arguments a(Json::parse(R"({"v": "-finfo.max", "w": "-inf", "n": 3.0, "dims": [0, -1], "one": 2, "none": null,
                              "flag": true, "sizes": {"h": 2}, "left": 1})"),
              DType::f32);
  CHECK(a.number("v") == -std::numeric_limits<float>::max());
  CHECK(a.number("w") == -INFINITY);
  CHECK(a.integer("n") == 3);
  CHECK(a.axes("dims") == Axes{0, -1});
  CHECK(a.axes("one") == Axes{2});
  CHECK(!a.axes("none"));
  CHECK(!a.axes("absent"));
  CHECK(a.flag("flag", false));
  CHECK(a.number("absent", 7) == 7);
  CHECK(a.sizes("sizes") == std::vector<std::pair<std::string, i64>>{{"h", 2}});
  Arguments sizes = a.within("sizes");
  CHECK_THROWS_WITH_AS(sizes.check_all_read(), "unknown argument: h = 2", CaseError);
  CHECK(sizes.integer("h") == 2);
  sizes.check_all_read();
  for (const char* nothing : {"none", "absent"}) CHECK(!a.within(nothing).has("h"));
  CHECK_THROWS_WITH_AS(a.within("n"), "argument 'n' must hold arguments; got 3.0", CaseError);
  CHECK_THROWS_WITH_AS(a.integer("w"), "argument 'w' must be a whole number; got \"-inf\"", CaseError);
  CHECK_THROWS_WITH_AS(a.flag("n", true), "argument 'n' must be true or false; got 3.0", CaseError);
  CHECK_THROWS_WITH_AS(a.check_all_read(), "unknown argument: left = 1", CaseError);
}

TEST_CASE("golden: a layer file is compared through the adapter of its class") {
  const Layers adapters{{"some project Linear", [](LayerFile& file) {
                           Random random(1);
                           Init init(random);
                           auto layer = std::make_unique<Linear>(file.config.integer("in"), 2, init);
                           layer->to(file.dtype);
                           layer->load_state_dict(file.parameters);
                           const Tensor y = layer->forward(file.inputs.at("x"));
                           return LayerRun{std::move(layer), {{"y", y}}};
                         }}};
  TemporaryFolder folder;
  const auto reason = [&](double y0, const std::string& config, const std::string& source,
                          const char* grad_of_bias = "grad.param.bias") {
    const auto f64 = [](const Literal& v) { return tensor(v, DType::f64); };
    save_safetensors(folder.file("linear.safetensors"),
                     {{{"in.x", f64({{1, 2}})},
                       {"param.weight", f64({{1, 0}, {3, 1}})},
                       {"param.bias", f64({0.5, 0})},
                       {"out.y", f64({{y0, 5}})},
                       {"cotangent.y", f64({{2, 1}})},
                       {"grad.x", f64({{5, 1}})},
                       {"grad.param.weight", f64({{2, 4}, {1, 2}})},
                       {grad_of_bias, f64({2, 1})}},
                      {{"dtype", "float64"}, {"mode", "train"}, {"config", config}, {"source", source}}});
    Bundle bundle(folder.file("linear.safetensors"));
    Comparison comparison(bundle.tolerance());
    try {
      run_layer(bundle, adapters, comparison);
      CHECK((!comparison.passed() || bundle.untaken("").empty()));
    } catch (const CaseError& e) {
      return std::string(e.what());
    }
    return comparison.reason();
  };
  CHECK(reason(1.5, R"({"in": 2})", "some project Linear @ 1234") == "");
  CHECK(reason(1.6, R"({"in": 2})", "some project Linear @ 1234") == "out.y: e = 1.7e-02, above 1e-09");
  CHECK(reason(1.5, R"({"in": 2, "bias": 1})", "some project Linear @ 1234") == "unknown argument: bias = 1");
  CHECK(reason(1.5, "{}", "some project Lin @ 1234") == "unknown layer 'some project Lin'");
  CHECK(reason(1.5, R"({"in": 2})", "some project Linear @ 1234", "bias") ==
        "the file has no 'grad.param.bias', and bias is a parameter");
}

TEST_CASE("golden: a function without parameters, whose gradients belong to several scalars") {
  // y = x^2: grad.twice belongs to sum(2 y w) with the cotangent w of no output.
  const Layers adapters{{"some project square", [](LayerFile& file) {
                           const Tensor x = file.inputs.at("x").detach().requires_grad_();
                           const Tensor y = x * x, w = file.cotangents.at("w");
                           const Tensor twice = grad(sum(y * w) * 2.0, {x})[0];
                           return LayerRun{{}, {{"y", y}, {"y_f32", y}}, {{"twice", twice}}};
                         }}};
  TemporaryFolder folder;
  const auto reason = [&](double y_f32, double gradient) {
    const auto f64 = [](const Literal& v) { return tensor(v, DType::f64); };
    save_safetensors(
        folder.file("square.safetensors"),
        {{{"in.x", f64({3, 1})},
          {"out.y", f64({9, 1})},
          {"out.y_f32", f64({y_f32, 1})},
          {"cotangent.w", f64({1, 2})},
          {"grad.twice", f64({gradient, 8})}},
         {{"dtype", "float64"}, {"mode", "train"}, {"config", "{}"}, {"source", "some project square @ 1"}}});
    Bundle bundle(folder.file("square.safetensors"));
    Comparison comparison(bundle.tolerance());
    run_layer(bundle, adapters, comparison);
    CHECK((!comparison.passed() || bundle.untaken("").empty()));
    return comparison.reason();
  };
  CHECK(reason(9, 12) == "");
  CHECK(reason(9.0001, 12) == "");
  CHECK(reason(9.01, 12) == "out.y_f32: e = 1.0e-03, above 1e-04");
  CHECK(reason(9, 12.1) == "grad.twice: e = 7.6e-03, above 1e-09");
}

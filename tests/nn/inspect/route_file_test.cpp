#include "nn/inspect/route_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "nn/moegrad.h"
#include "tests/support/check_op.h"
#include "tests/support/message_of.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Choice choice_of(const char* name, const std::vector<i64>& values, const Shape& shape, const Shape& scores) {
  return {name, from_vector(values, shape, DType::i64), 0, scores};
}

// Top-1 of three experts with gates that are 1, so that y depends on the router through its choices alone.
struct Model {
  Model() : moe(make_moe(8, {.experts = 3, .k = 1, .hidden = 6}, init)) {}
  Tensor& weight() { return static_cast<TopKRouter&>(*moe->router).gate.weight; }
  Random random{7};
  Init init{random};
  std::unique_ptr<MoE> moe;
};

Tensor run(const Layer& layer, const Tensor& x) {
  Context context;
  const Inside here(context, "blocks", 1);
  return layer.forward(x, context);
}

}  // namespace

TEST_CASE("route file: record, save, load and replay: the same bits, though the router has other weights by then") {
  TemporaryFolder folder;
  Model model;
  const Tensor x = random_normal({2, 9, 8}, 0, 1, model.random.next());
  RunRoutes recorded;
  const Tensor y = [&] {
    const RecordRoutes here(recorded);
    return run(*model.moe, x);
  }();
  save_routes(folder.file("a.routes"), recorded);
  CHECK(recorded.layers == std::vector<std::string>(recorded.tape.choices().size(), "blocks.1"));

  Model other;  // as another process would make it
  other.weight() = random_normal(other.weight().shape(), 0, 1, other.random.next());
  RunRoutes free;
  const Tensor elsewhere = [&] {
    const RecordRoutes here(free);
    return run(*other.moe, x);
  }();
  CHECK(difference(elsewhere, y) > 0);
  RunRoutes loaded = load_routes(folder.file("a.routes"));
  TapeScope replay(loaded.tape, TapeMode::replay);
  CHECK(difference(run(*other.moe, x), y) == 0);
  CHECK(replay.replayed() == loaded.tape.choices().size());

  const RouteDifference none = compare_routes(recorded, loaded), some = compare_routes(recorded, free);
  CHECK(none.first() == -1);
  CHECK(none.choices.size() == recorded.tape.choices().size());
  CHECK(none.text() == "1 choices, all equal\n");
  CHECK(some.first() == 0);
  CHECK(some.choices[0].rows == 18);
  CHECK(some.choices[0].different > 0);
  CHECK(some.choices[0].different < 18);
}

TEST_CASE("route file: a model in training, recomputed and with dropout, replays into the same gradients") {
  TemporaryFolder folder;
  const auto losses = [&](const RunRoutes* replayed, RunRoutes* recorded) {
    Random random(3);
    Init init(random);
    LanguageModel model(
        {.vocabulary = 7, .context = 6, .width = 8, .layers = 2, .heads = 2, .dropout = 0.1, .recompute = true},
        [&](i64, double, Init& i) {
          return make_moe(8, {.experts = 3, .k = 2, .capacity_factor = 1, .hidden = 4, .dropout = 0.1}, i);
        },
        init);
    const Tensor tokens = random_integers({2, 6}, 0, 7, random.next());
    Context context{.training = true, .random = &random};
    RouteTape tape = replayed ? replayed->tape : RouteTape();
    RunRoutes ignored;
    const RecordRoutes outer(recorded ? *recorded : ignored);
    std::optional<TapeScope> inner;
    if (replayed) inner.emplace(tape, TapeMode::replay);
    cross_entropy(model.forward(tokens, context), tokens).backward();
    std::vector<Tensor> grads;
    for (const Tensor& p : model.parameters()) grads.push_back(p.grad());
    return grads;
  };
  RunRoutes recorded;
  const std::vector<Tensor> first = losses(nullptr, &recorded);
  REQUIRE(recorded.tape.choices().size() == 2);
  CHECK(recorded.layers == std::vector<std::string>{"blocks.0.feed_forward", "blocks.1.feed_forward"});
  save_routes(folder.file("a.routes"), recorded);
  const RunRoutes loaded = load_routes(folder.file("a.routes"));
  const std::vector<Tensor> second = losses(&loaded, nullptr);
  REQUIRE(first.size() == second.size());
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(difference(first[i], second[i]) == 0);
  std::vector<Choice> others = loaded.tape.choices();
  for (Choice& c : others) c.indices = scalar_like(2, c.indices) - c.indices;  // expert e becomes 2 - e
  const RunRoutes turned{RouteTape(others), {}};
  const std::vector<Tensor> third = losses(&turned, nullptr);
  double apart = 0;
  for (std::size_t i = 0; i < first.size(); ++i) apart += difference(first[i], third[i]);
  CHECK(apart > 0);
}

TEST_CASE("route file: names, layers, shapes, margins and empty choices are kept") {
  TemporaryFolder folder;
  RunRoutes routes;
  std::vector<Choice> list{choice_of("top_k", {1, -1, 2, 0}, {2, 2}, {2, 5}), choice_of("nonzero", {}, {0, 2}, {4, 4}),
                           choice_of("second", {1}, {}, {})};
  list[0].margin = 0.1;
  list[2].margin = std::numeric_limits<double>::infinity();
  routes.tape = RouteTape(list);
  routes.layers = {"blocks.0", "caf\xc3\xa9"};
  save_routes(folder.file("a"), routes);
  const RunRoutes back = load_routes(folder.file("a"));
  REQUIRE(back.tape.choices().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const Choice &a = list[i], &b = back.tape.choices()[i];
    CHECK(a.text() == b.text());
    CHECK(a.scores == b.scores);
    CHECK(a.margin == b.margin);
    CHECK(routes.layer(i) == back.layer(i));
  }
  CHECK(back.tape.difference(routes.tape).empty());
  save_routes(folder.file("none"), {});
  CHECK(load_routes(folder.file("none")).tape.choices().empty());
  CHECK(folder.count() == 2);
}

TEST_CASE("route file: margins are measured on request") {
  RunRoutes routes;
  Model model;
  {
    const RecordRoutes here(routes, true);
    run(*model.moe, random_normal({1, 4, 8}, 0, 1, model.random.next()));
  }
  CHECK(routes.tape.margin() > 0);
  CHECK(std::isfinite(routes.tape.margin()));
}

TEST_CASE("route file: files that are damaged, or something else, are errors that name them") {
  TemporaryFolder folder;
  const std::string path = folder.file("x");
  const auto error_of = [&](const TensorFile& file) -> std::string {
    save_safetensors(path, file);
    try {
      load_routes(path);
    } catch (const IoError& e) {
      return std::string(e.what()).substr(path.size());
    }
    return "none";
  };
  const std::string one = R"([{"name":"top_k","layer":"","scores":[2,5]}])";
  const auto file = [&](const std::string& choices, StateDict tensors) {
    return TensorFile{std::move(tensors), {{"moegrad.routes", "1"}, {"choices", choices}}};
  };
  const NamedTensor indices{"0", zeros({2, 1}, DType::i64)}, margins{"margins", zeros({1}, DType::f64)};
  CHECK(error_of(file(one, {indices, margins})) == "none");
  CHECK(error_of({}) == ": it does not hold routes of version 1");
  CHECK(error_of({{}, {{"moegrad.routes", "2"}, {"choices", "[]"}}}) == ": it does not hold routes of version 1");
  CHECK(error_of(file(one, {indices})) == ": there is no tensor 'margins'");
  CHECK(error_of(file(one, {margins})) == ": there is no tensor '0'");
  CHECK(error_of(file("[]", {indices, {"margins", zeros({0}, DType::f64)}})) ==
        ": every tensor must belong to a choice; got '0'");
  CHECK(error_of(file(one, {indices, {"margins", zeros({2}, DType::f64)}})) ==
        ": margins must be f64 [1]; got f64 [2]");
  CHECK(error_of(file(one, {{"0", zeros({2, 1})}, margins})) ==
        ": choice 0 must have i64 indices and a margin of at least 0; got f32 [2, 1] and 0");
  CHECK(error_of(file(one, {indices, {"margins", full({1}, NAN, DType::f64)}})) != "none");
  CHECK(error_of(file(R"([{"name":"top_k","layer":"","scores":[-2]}])", {indices, margins})) ==
        ": scores must have a shape; got [-2]");
  for (const char* text : {"", "{", "[1]", R"([{"name":1}])", R"({"a":1})"})
    CHECK(error_of(file(text, {indices, margins})).starts_with(": the list of choices is not what it should be"));
  const std::string absent = folder.file("absent");
  CHECK(message_of<IoError>([&] { load_routes(absent); }) == absent + ": there is no such file");
}

TEST_CASE("route difference: rows that differ, by choice and layer, in words and as a table") {
  RunRoutes a, b;
  // experts [3, 2] of three tokens; tokens [4, 2] of two experts, chosen along the first axis; single elements
  a.tape = RouteTape({choice_of("top_k", {0, 1, 2, 3, 4, 5}, {3, 2}, {3, 6}),
                      choice_of("top_k", {0, 1, 2, 3}, {2, 2}, {5, 2}), choice_of("second", {0, 1}, {2}, {2})});
  b.tape = RouteTape({choice_of("top_k", {0, 1, 3, 2, 4, 0}, {3, 2}, {3, 6}),
                      choice_of("top_k", {0, 1, 2, 4}, {2, 2}, {5, 2}), choice_of("second", {0, 1}, {2}, {2})});
  a.layers = b.layers = {"one", "two", "two"};
  const RouteDifference d = compare_routes(a, b);
  CHECK(d.first() == 0);
  CHECK(d.choices[0].different == 2);
  CHECK(d.choices[0].first == 1);
  CHECK(d.choices[0].why == "row 1 is 2 3 and 3 2");
  CHECK(d.choices[1].rows == 2);
  CHECK(d.choices[1].why == "row 1 is 1 3 and 1 4");
  CHECK(d.choices[2].why.empty());
  CHECK(d.text() ==
        "3 of 7 rows in 3 choices differ\n"
        "one: 2 of 3 rows (66.67 %), first in choice 0 (top_k): row 1 is 2 3 and 3 2\n"
        "two: 1 of 4 rows (25.00 %), first in choice 1 (top_k): row 1 is 1 3 and 1 4\n");
  CHECK(d.table().rows == std::vector<std::vector<std::string>>{
                              {"one", "1", "3", "2", "66.67 %", "choice 0 (top_k): row 1 is 2 3 and 3 2"},
                              {"two", "2", "4", "1", "25.00 %", "choice 1 (top_k): row 1 is 1 3 and 1 4"}});
}

TEST_CASE("route difference: other names, shapes and numbers of choices") {
  RunRoutes a, b;
  a.tape = RouteTape({choice_of("top_k", {0, 1}, {2, 1}, {2, 3}), choice_of("sort", {0, 1}, {2}, {2})});
  b.tape = RouteTape({choice_of("top_k", {0, 1}, {2, 1}, {2, 4})});
  const RouteDifference d = compare_routes(a, b);
  CHECK(d.choices[0].different == 2);
  CHECK(d.choices[0].why == "top_k [2, 1] from [2, 3] and top_k [2, 1] from [2, 4]");
  CHECK(d.only_first == 1);
  CHECK(d.table().note == "The first run has 1 choices more, the second 0.");
  RunRoutes shorter;
  shorter.tape = RouteTape({a.tape.choices()[0]});
  CHECK(compare_routes(a, shorter).first() == 1);
  CHECK(compare_routes(shorter, a).first() == 1);
  CHECK(compare_routes(shorter, a).text() ==
        "0 of 2 rows in 1 choices differ\nthe first run has 0 choices more, the second 1\n");
}

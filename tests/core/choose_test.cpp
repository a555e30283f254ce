#include "core/choose.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/arithmetic.h"

using namespace moegrad;

namespace {

// The position of the largest score, as a choice: by how much it leads is the margin.
int made = 0, measured = 0;
Tensor largest(const char* name, const Tensor& scores) {
  const auto v = scores.to_vector<double>();
  return choose(
      name, scores,
      [&] {
        ++made;
        CHECK_FALSE(recording());
        return tensor(static_cast<i64>(std::max_element(v.begin(), v.end()) - v.begin()), DType::i64);
      },
      [&](const Tensor& index) {
        ++measured;
        double margin = std::numeric_limits<double>::infinity();
        const auto at = static_cast<std::size_t>(index.item());
        for (std::size_t i = 0; i < v.size(); ++i)
          if (i != at) margin = std::min(margin, v[at] - v[i]);
        return margin;
      });
}

}  // namespace

TEST_CASE("choose: without a tape it makes the indices, and they have no gradient") {
  Tensor scores = tensor({1, 3, 2});
  scores.requires_grad_();
  made = measured = 0;
  const Tensor index = largest("argmax", scores);
  CHECK((index.item() == 1 && !index.requires_grad() && made == 1 && measured == 0));
  CHECK(recording());
}

TEST_CASE("choose: a tape records in order, and replays whatever the scores say") {
  RouteTape tape;
  {
    TapeScope scope(tape, TapeMode::record);
    largest("first", tensor({1, 3, 2}));
    largest("second", tensor({9, 3, 2}));
  }
  REQUIRE(tape.choices().size() == 2);
  CHECK((tape.choices()[0].name == "first" && tape.choices()[0].indices.item() == 1));
  CHECK(tape.choices()[0].scores == Shape{3});
  made = 0;
  TapeScope scope(tape, TapeMode::replay);
  CHECK(largest("first", tensor({7, 3, 2})).item() == 1);
  CHECK(largest("second", tensor({1, 3, 2})).item() == 0);
  CHECK(made == 0);
  tape.clear();
  CHECK(tape.choices().empty());
}

TEST_CASE("choose: a tape that does not fit the run is an error that says where") {
  RouteTape tape;
  {
    TapeScope scope(tape, TapeMode::record);
    largest("first", tensor({1, 3, 2}));
  }
  {
    TapeScope scope(tape, TapeMode::replay);
    CHECK_THROWS_WITH_AS(
        largest("other", tensor({1, 3, 2})),
        "other: the replayed tape must hold this choice, from scores [3]; got first from scores [3] at place 0", Error);
  }
  {
    TapeScope scope(tape, TapeMode::replay);
    CHECK_THROWS_WITH_AS(
        largest("first", tensor({1, 3})),
        "first: the replayed tape must hold this choice, from scores [2]; got first from scores [3] at place 0", Error);
  }
  TapeScope scope(tape, TapeMode::replay);
  largest("first", tensor({1, 3, 2}));
  CHECK_THROWS_WITH_AS(largest("first", tensor({1, 3, 2})),
                       "first: the replayed tape must have a choice for every call; it ends after 1", Error);
}

TEST_CASE("choose: margins are measured on request only") {
  RouteTape tape;
  CHECK(tape.margin() == std::numeric_limits<double>::infinity());
  measured = 0;
  {
    TapeScope scope(tape, TapeMode::measure);
    largest("a", tensor({1, 3, 2}));
    largest("b", tensor({1, 1.25, 0}));
  }
  CHECK(measured == 2);
  CHECK(tape.choices()[0].margin == 1);
  CHECK(tape.margin() == 0.25);
  {
    TapeScope scope(tape, TapeMode::measure);
    choose(
        "nan", tensor({1, NAN}), [] { return tensor({0}, DType::i64); }, [](const Tensor&) { return NAN; });
  }
  CHECK(tape.margin() == 0);  // NaN decides nothing
}

TEST_CASE("choose: scopes nest, the innermost counts, and an exception leaves none behind") {
  RouteTape outer, inner;
  TapeScope a(outer, TapeMode::record);
  largest("one", tensor({1, 2}));
  try {
    TapeScope b(inner, TapeMode::record);
    largest("two", tensor({1, 2}));
    throw Error("from inside");
  } catch (const Error&) {
  }
  {
    TapeScope b(inner, TapeMode::replay);
    largest("two", tensor({2, 1}));
  }
  largest("three", tensor({1, 2}));
  CHECK((outer.choices().size() == 2 && outer.choices()[1].name == "three" && inner.choices().size() == 1));
}

TEST_CASE("choose: a tape that listens leaves the choice to the scopes outside, which note it, too") {
  RouteTape outer, heard, fresh;
  {
    TapeScope a(outer, TapeMode::measure);
    TapeScope b(heard, TapeMode::listen);
    largest("one", tensor({1, 3}));
  }
  REQUIRE((outer.choices().size() == 1 && heard.choices().size() == 1));
  CHECK((outer.margin() == 2 && heard.choices()[0].indices.item() == 1));
  {
    TapeScope a(outer, TapeMode::replay);
    TapeScope b(fresh, TapeMode::listen);
    CHECK(largest("one", tensor({3, 1})).item() == 1);
    CHECK((a.replayed() == 1 && b.replayed() == 0));
  }
  CHECK(fresh.choices()[0].indices.item() == 1);
  TapeScope alone(fresh, TapeMode::listen);
  CHECK(largest("two", tensor({3, 1})).item() == 0);
}

TEST_CASE("choose: two tapes differ where the text says") {
  const auto run = [](std::initializer_list<std::pair<const char*, Tensor>> choices) {
    RouteTape tape;
    TapeScope scope(tape, TapeMode::record);
    for (const auto& [name, scores] : choices)
      choose(
          name, scores, [&s = scores] { return s; }, [](const Tensor&) { return 0.0; });
    return tape;
  };
  const RouteTape base = run({{"a", tensor({1, 2})}, {"b", tensor({3, 4})}});
  CHECK(base.difference(base).empty());
  CHECK(base.difference(run({{"a", tensor({1, 2})}, {"b", tensor({3, 5})}})) ==
        "choice 1 (b [2]): element 1 is 4 and 5");
  CHECK(base.difference(run({{"x", tensor({1, 2})}})) == "choice 0: a [2] and x [2]");
  CHECK(base.difference(run({{"a", tensor({1, 2, 3})}})) == "choice 0: a [2] and a [3]");
  CHECK(base.difference(run({{"a", tensor({1, 2})}})) == "2 choices and 1");
}

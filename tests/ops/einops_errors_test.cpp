// What rearrange, reduce and repeat refuse, and how they say so.
#include <doctest/doctest.h>

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/errors.h"
#include "ops/einops.h"

using namespace moegrad;

namespace {
// The text of what a call throws.
template <class Expected, class Fn> std::string thrown(Fn&& call) {
  try {
    call();
  } catch (const Expected& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("of another type: ") + e.what();
  }
  return "nothing";
}
const Tensor& of(const Shape& shape) {
  static std::map<std::string, Tensor> made;
  return made.try_emplace(to_string(shape), zeros(shape)).first->second;
}
}  // namespace

TEST_CASE("einops: a pattern that cannot be read is quoted, and what is wrong is named") {
  const auto rule = [](const std::string& pattern) {
    const std::string text = thrown<Error>([&] { rearrange(of({2, 3}), pattern); });
    const std::string prefix = "rearrange \"" + pattern + "\": ";
    return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
  };
  CHECK_EQ(rule("a b"), "a pattern must have two sides with one '->' between them");
  CHECK_EQ(rule("a b -> b a -> a b"), "a pattern must have two sides with one '->' between them");
  CHECK_EQ(rule("a b- > b a"), "a pattern must have two sides with one '->' between them");
  CHECK_EQ(rule("a b+ -> b a"), "a pattern has names, numbers, spaces, '(', ')', '...' and one '->'; got '+' at 3");
  CHECK_EQ(rule("a ( (b)) -> b a"), "parentheses must not be nested on the left side");
  CHECK_EQ(rule("a b) -> b a"), "')' must follow '(' on the left side");
  CHECK_EQ(rule("a b -> (b a"), "'(' must be followed by ')' on the right side");
  CHECK_EQ(rule("a a -> a"), "an axis must be named once; got 'a' twice on the left side");
  CHECK_EQ(rule("1a b -> b 1a"), "a name must begin with a letter; got '1a' on the left side");
  CHECK_EQ(rule("_a b -> b _a"), "a name must not begin or end with '_'; got '_a' on the left side");
  CHECK_EQ(rule("a b -> b a_"), "a name must not begin or end with '_'; got 'a_' on the right side");
  CHECK_EQ(rule("a... -> a ..."), "dots must stand in '...', apart from names; got 'a...' on the left side");
  CHECK_EQ(rule("a .. -> a"), "dots must stand in '...', apart from names; got '..' on the left side");
  CHECK_EQ(rule("... a ... -> a"), "'...' must stand once; got it twice on the left side");
  CHECK_EQ(rule("(...) -> (...)"), "'...' must not be inside parentheses on the left side");
  CHECK_EQ(rule("a b -> ... a b"), "'...' must not be on the right side only");
  CHECK_EQ(rule("a b ... -> a b"), "'...' is on the left side only; only reduce removes axes");
  CHECK_EQ(rule("a b -> a b c"), "'c' is on the right side only; only repeat makes axes");
  CHECK_EQ(rule("a b -> a"), "'b' is on the left side only; only reduce removes axes");
  CHECK_EQ(rule("a 3 -> a"), "a number other than 1 on the left side is an axis to reduce; got 3");
  CHECK_EQ(rule("a b -> a b 2"), "a number other than 1 on the right side is an axis to repeat; got 2");
  CHECK_EQ(rule("a 0 -> a"), "a number must be 1 or more; got '0' on the left side");
  CHECK_EQ(rule("a b -> a b 99999999999999999999"),
           "a number must be below 2^62; got '99999999999999999999' on the right side");
  CHECK_EQ(thrown<Error>([] {
             rearrange(of({2, 3}), "\xc3\xa4 b\t-> b");
           }),
           "rearrange \"?? b?-> b\": a pattern has names, numbers, spaces, '(', ')', '...' and one '->'; got byte 195 "
           "at 0");
  CHECK_EQ(thrown<Error>([] { repeat(of({2}), "2 -> 2 3"); }),
           "repeat \"2 -> 2 3\": a number other than 1 on the left side is an axis to reduce; got 2");
  CHECK_EQ(thrown<Error>([] {
             reduce(of({2, 3}), "a b -> a 3", "sum");
           }),
           "reduce \"a b -> a 3\": a number other than 1 on the right side is an axis to repeat; got 3");
  CHECK_EQ(thrown<Error>([] {
             reduce(of({2, 3}), "a b -> a", "median");
           }),
           "reduce \"a b -> a\": a reduction is one of sum, mean, max, min, prod, any, all; got 'median'");
}

TEST_CASE("einops: a tensor or sizes that do not fit") {
  const auto rule = [](const Shape& shape, const std::string& pattern, std::vector<AxisSize> sizes = {}) {
    const std::string text =
        thrown<ShapeError>([&] { rearrange(of(shape), pattern, std::span<const AxisSize>(sizes)); });
    const std::string prefix = "rearrange \"" + pattern + "\": ", suffix = "; got x " + to_string(shape);
    const bool whole = text.starts_with(prefix) && text.ends_with(suffix);
    return whole ? text.substr(prefix.size(), text.size() - prefix.size() - suffix.size()) : text;
  };
  CHECK_EQ(rule({2, 3}, "a b c -> c b a"), "x must have 3 axes");
  CHECK_EQ(rule({2, 3}, "a -> a"), "x must have 1 axis");
  CHECK_EQ(rule({2, 3}, "a ... b c -> a b c ..."), "x must have 3 or more axes");
  CHECK_EQ(rule({2, 6}, "a (b c) -> a b c"), "all sizes but one must be given for '(b c)', which is axis 1");
  CHECK_EQ(rule({2, 6}, "a (b c) -> a b c", {{"b", 4}}),
           "axis 1 must be divisible by the sizes given for '(b c)'; 6 is not by 4");
  CHECK_EQ(rule({2, 6}, "a (b c) -> a b c", {{"b", 0}}),
           "axis 1 must be divisible by the sizes given for '(b c)'; 6 is not by 0");
  CHECK_EQ(rule({2, 6}, "a (b c) -> a b c", {{"b", 2}, {"c", 2}}), "'(b c)' is 4 but axis 1 is 6");
  CHECK_EQ(rule({2, 6}, "a b -> b a", {{"a", 3}}), "'a' is 3 but axis 0 is 2");
  CHECK_EQ(rule({2, 6}, "a 1 -> a"), "'()' is 1 but axis 1 is 6");
  CHECK_EQ(rule({1, 1}, "a b -> b a 1 1 1 1 1 1 1 1 1 1 1"), "a side must have at most 12 elementary axes, and has 13");
  CHECK_EQ(rule({0, 1}, "(a b) c -> a b c", {{"b", i64{1} << 40}, {"c", 1}, {"a", 0}}), "nothing");
  CHECK_EQ(rule({0}, "(a b c) -> a b c", {{"b", i64{1} << 40}, {"c", i64{1} << 40}, {"a", 0}}),
           "the sizes must give at most 2^62 elements");
  CHECK_EQ(thrown<ShapeError>([] { repeat(of({2}), "a -> a b"); }),
           "repeat \"a -> a b\": the size of 'b' must be given; got x [2]");
  const i64 huge = std::numeric_limits<i64>::max();
  CHECK_EQ(thrown<ShapeError>([&] {
             repeat(of({2}), "a -> (a b) c", {{"b", huge}, {"c", huge}});
           }),
           "repeat \"a -> (a b) c\": the sizes must give at most 2^62 elements; got x [2]");
  CHECK_EQ(thrown<Error>([] {
             rearrange(of({2, 3}), "a b -> b a", {{"c", 3}});
           }),
           "rearrange \"a b -> b a\": sizes must be given for axes of the pattern; got 'c'");
  CHECK_EQ(thrown<Error>([] {
             rearrange(of({2, 3}), "a b -> b a", {{"a", -2}});
           }),
           "rearrange \"a b -> b a\": sizes must be 0 or more; got -2 for 'a'");
  CHECK_EQ(thrown<Error>([] {
             rearrange(of({2, 3}), "a b -> b a", {{"a", 2}, {"a", 2}});
           }),
           "rearrange \"a b -> b a\": sizes must be given once; got two for 'a'");
}

TEST_CASE("reduce: what a reduction cannot do") {
  CHECK_EQ(thrown<DTypeError>([] { reduce(zeros({2}, DType::i64), "a ->", "mean"); }),
           "reduce \"a ->\": mean needs a floating dtype; got x i64 [2]");
  CHECK_EQ(thrown<DTypeError>([] { reduce(zeros({2}, DType::boolean), "a ->", "max"); }),
           "reduce \"a ->\": max needs numbers, and bools have any and all; got x bool [2]");
  CHECK_EQ(thrown<ShapeError>([] {
             reduce(zeros({0, 2}), "a b -> b", "min");
           }),
           "reduce \"a b -> b\": there must be elements to take the min of; got x [0, 2]");
}

#include "ops/plan_cache.h"

#include <doctest/doctest.h>

#include "core/errors.h"

using namespace moegrad;

TEST_CASE("plan_cache: bounded, and plans in use are not forgotten") {
  PlanCache<i64> cache;
  const auto plan = [&](i64 i) { return *cache.get(PlanKey().number(i), [&] { return 10 * i; }); };
  for (i64 i = 0; i < 5000; ++i) {
    CHECK_EQ(plan(i), 10 * i);
    CHECK_EQ(plan(-1), -10);
  }
  CHECK_LE(cache.size(), 2 * PlanCache<i64>::kGeneration);
  CHECK_EQ(cache.made(), 5001);
  CHECK_THROWS_WITH_AS(cache.get(PlanKey().number(-2), []() -> i64 { throw Error("no plan"); }), "no plan", Error);
  CHECK_EQ(plan(-2), -20);
}

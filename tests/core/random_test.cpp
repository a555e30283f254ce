#include "core/random.h"

#include <doctest/doctest.h>

using namespace moegrad;

TEST_CASE("random: a stream counts its draws, and each step begins anew") {
  Random random(7);
  CHECK((random.seed() == 7 && random.step() == 0 && random.drawn() == 0));
  const Draw first = random.next(), second = random.next();
  CHECK((first.seed == 7 && first.number == 0 && second.number == 1 && random.drawn() == 2));
  random.advance();
  CHECK((random.step() == 1 && random.drawn() == 0));
  CHECK(random.next().number == 0);
}

TEST_CASE("random: a draw keeps the step it was made in, so that a recomputation repeats it") {
  Random random(7);
  const Draw before = random.next();
  random.advance();
  const Draw after = random.next();
  CHECK((before.step.item() == 0 && after.step.item() == 1));
  CHECK((before.step.dtype() == DType::i64 && before.step.rank() == 0));
}

TEST_CASE("random: restore continues a stream; a copy goes its own way") {
  Random random(7);
  for (int i = 0; i < 3; ++i) random.advance();
  random.next();
  Random restored(0), copy = random;
  restored.restore(random.seed(), random.step(), random.drawn());
  const Draw a = random.next(), b = restored.next();
  CHECK((a.seed == b.seed && a.number == b.number && a.step.item() == b.step.item()));
  copy.advance();
  CHECK((copy.step() == 4 && random.step() == 3));
  restored.restore(1, (i64{1} << 32) - 1, 5);
  CHECK((restored.step() == (i64{1} << 32) - 1 && restored.next().number == 5));
}

TEST_CASE("random: a step that no stream can have is an error, and changes nothing") {
  Random random(7);
  CHECK_THROWS_WITH_AS(random.restore(1, -1, 0), "random: a step must be in [0, 2^32); got -1", Error);
  CHECK_THROWS_WITH_AS(random.restore(1, i64{1} << 32, 0), "random: a step must be in [0, 2^32); got 4294967296",
                       Error);
  CHECK((random.seed() == 7 && random.step() == 0));
}

#include "examples/training/run_record.h"

#include <doctest/doctest.h>

#include "core/errors.h"
#include "tests/support/message_of.h"

using namespace examples;
using namespace moegrad::test;

TEST_CASE("run record: through the notes of a checkpoint, beside others, and back") {
  RunRecord record;
  record.scalars.add(1, "loss", 2.5);
  record.loads.add(1, {RoutingMap{.layer = "a", .groups = 1, .tokens = 2, .experts = 2, .load = {2, 1}}});
  Notes notes{{"width", "8"}};
  record.write(notes);
  CHECK(notes.at("width") == "8");
  const RunRecord again = RunRecord::from(notes);
  CHECK(again.scalars.text() == record.scalars.text());
  CHECK(again.loads.text() == record.loads.text());
  CHECK(again.scalars.last("loss") == 2.5);
  CHECK(again.loads.layers() == std::vector<std::string>{"a"});
}

TEST_CASE("run record: checkpoints without one begin a new one, and nonsense is an error") {
  CHECK(RunRecord::from({}).scalars.names().empty());
  CHECK(message_of<IoError>([] {
          RunRecord::from({{"record.scalars", "nonsense"}});
        })
            .starts_with(
                "history: the text must be that of a moegrad.scalar_history: "));  // then, the JSON library's words
}

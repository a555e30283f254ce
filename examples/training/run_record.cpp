#include "examples/training/run_record.h"

namespace examples {
namespace {

constexpr const char *kScalars = "record.scalars", *kLoads = "record.loads";

}  // namespace

void RunRecord::write(Notes& notes) const {
  notes[kScalars] = scalars.text();
  notes[kLoads] = loads.text();
}

RunRecord RunRecord::from(const Notes& notes) {
  RunRecord record;
  if (const auto found = notes.find(kScalars); found != notes.end())
    record.scalars = ScalarHistory::from_text(found->second);
  if (const auto found = notes.find(kLoads); found != notes.end()) record.loads = LoadHistory::from_text(found->second);
  return record;
}

}  // namespace examples

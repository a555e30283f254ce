#include "examples/training/run_record.h"

namespace examples {
namespace {

constexpr const char *kScalars = "record.scalars", *kLoads = "record.loads", *kGradients = "record.gradients";

}  // namespace

void RunRecord::write(Notes& notes) const {
  notes[kScalars] = scalars.text();
  notes[kLoads] = loads.text();
  notes[kGradients] = gradients.text();
}

RunRecord RunRecord::from(const Notes& notes) {
  RunRecord record;
  if (const auto found = notes.find(kScalars); found != notes.end())
    record.scalars = ScalarHistory::from_text(found->second);
  if (const auto found = notes.find(kLoads); found != notes.end()) record.loads = LoadHistory::from_text(found->second);
  if (const auto found = notes.find(kGradients); found != notes.end())
    record.gradients = RouterGradientHistory::from_text(found->second);
  return record;
}

}  // namespace examples

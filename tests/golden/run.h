// Runs the cases of a folder of reference numbers and reports on each.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

#include "tests/golden/adapters.h"
#include "tests/golden/deviations.h"

namespace moegrad::golden {

struct Options {
  std::string folder;
  std::string filter;  ///< cases whose FILE/CASE begins with it or, where none does, contains it
  std::string report;  ///< a JSON file to write; empty: none
  std::span<const Deviation> deviations = known_deviations();
};

enum class Status { passed, failed, deviating };

struct Result {
  std::string file, name, op;
  Status status = Status::failed;
  double worst = 0;    ///< largest e of its tensors
  int tensors = 0;     ///< compared
  std::string reason;  ///< why it failed or deviates
};

/// All results of one file. Never throws: a file that cannot be read is one failed case.
std::vector<Result> run_file(const std::string& path, const Options& options);

/// Runs a folder, prints one line per case and the totals, writes the report. Returns the exit status: 0 where cases
/// ran and none failed, else 1.
int run_folder(const Options& options, std::ostream& out);

// What a case is made of decides how it runs. Each of these fills `comparison` or throws.
void run_call(Bundle& bundle, const Case& c, const Ops& ops, Comparison& comparison);  // calls.cpp
void run_refused(const Json& call, const Ops& ops);                                    // calls.cpp; throws CaseError
void run_optimizer(Bundle& bundle, const Case& c, Comparison& comparison);             // optimizers.cpp
void run_schedule(Bundle& bundle, const Case& c, Comparison& comparison);              // schedules.cpp
void run_clipping(Bundle& bundle, const Case& c, Comparison& comparison);              // clipping.cpp

}  // namespace moegrad::golden

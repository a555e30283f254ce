// A comparison of routers for people: a page of figures, and a table for the terminal.
#pragma once
#include "examples/training/comparison.h"
#include "nn/inspect/report.h"

namespace examples {

using namespace moegrad;

/// All that a report says follows from this.
struct Comparison {
  std::vector<Contestant> routers;  ///< the first is what all others are compared with
  Reading flops, seconds;           ///< their losses at equal FLOPs, and at equal wall time
  double dense_flops_per_token = 0;
};
/// Reads all curves at the largest budgets that every training reached.
///   Errors  as read_all
Comparison compare(std::vector<Contestant> routers, double dense_flops_per_token);

/// Conclusion, curves against FLOPs and seconds, tables of differences, load balance, what everything cost.
/// `about` says what was trained, on what; `machine` on which device.
Report comparison_report(const Comparison& c, const std::string& about, const std::string& machine);

/// The same in short: one line per router, then the conclusion.
std::string comparison_text(const Comparison& c);

}  // namespace examples

// A comparison of routers as numbers: curves of every training, read at a common budget, and what their seeds allow to
// say about them.
#pragma once
#include <string>
#include <vector>

#include "examples/training/seed_statistics.h"

namespace examples {

/// One training, at each look at its validation loss; the first is before the first step.
struct Curve {
  std::vector<double> flops, seconds, tokens;  ///< spent on training so far, rising from 0
  std::vector<double> loss, accuracy;          ///< on all validation data; nats, and a share
};
/// y at this x of a curve through (xs[i], ys[i]), in straight lines. xs rise.
///   Errors  Error: x lies outside the curve
double read_at(const std::vector<double>& xs, const std::vector<double>& ys, double x);

/// How experts were used in the end, over all validation data, as a mean over layers; kNoValue: there is no such thing.
struct Balance {
  double variation = 0;  ///< coefficient of variation of the load
  double dead = 0;       ///< experts without any load, per layer
  double dropped = 0;    ///< share of choices, or tokens, that found no place
};

struct Contestant {
  std::string name;
  i64 hidden = 0, parameters = 0, active = 0;  ///< `hidden`: channels inside an expert
  double flops_per_token = 0;                  ///< of a training step, before the first one
  std::vector<Curve> curves;                   ///< by seed
  std::vector<Balance> balance;                ///< by seed
  std::vector<std::vector<double>> load;       ///< of the first seed: the share of every expert, by layer
};

/// What all trainings are stopped at to be compared.
enum class Budget { flops, seconds };

/// The largest budget that every training reached.
double common_budget(const std::vector<Contestant>& all, Budget budget);

/// Losses at a budget.
struct Reading {
  Budget budget = Budget::flops;
  double at = 0;
  std::vector<std::string> names;
  std::vector<std::vector<double>> loss, accuracy;  ///< [router][seed]
};
///   Errors  Error: no routers, or they have not the same number of seeds; a training that ended before
Reading read_all(const std::vector<Contestant>& all, Budget budget, double at);

/// Loss of one router less that of another.
struct Versus {
  std::size_t a = 0, b = 0;     ///< places in the list of routers
  PairedDifference difference;  ///< below 0: a is better
  double corrected_p = 1;       ///< after Holm, in the family that was asked about
  bool exceeds = false;         ///< the seed noise: corrected_p is below kLevel
};
inline constexpr double kLevel = 0.05;

/// Everyone against one: a family of n - 1 questions.
std::vector<Versus> against(const Reading& reading, std::size_t one);
/// All pairs a < b: a family of n (n - 1) / 2 questions, so each of them is harder to answer.
std::vector<Versus> all_pairs(const Reading& reading);

/// "exceeds the seed noise" or "does not exceed the seed noise".
std::string verdict(const Versus& v);
/// What the numbers allow to say, in sentences: who differs from the first router, by how much; whether one router is
/// better than all others; which differences were too small to be seen with so many seeds.
std::vector<std::string> conclusion(const Reading& reading);

/// How the verdicts come about, for a reader who wants to check them.
std::string method_text(std::size_t routers, std::size_t seeds);

}  // namespace examples

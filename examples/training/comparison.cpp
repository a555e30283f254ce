#include "examples/training/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/errors.h"

namespace examples {

using moegrad::Error;

// ---- curves

double read_at(const std::vector<double>& xs, const std::vector<double>& ys, double x) {
  if (xs.empty() || xs.size() != ys.size() || !(x >= xs.front() && x <= xs.back()))
    throw Error(fmt::format("curve: cannot be read at {}; got {} and {} values{}", x, xs.size(), ys.size(),
                            xs.empty() ? "" : fmt::format(" from {} to {}", xs.front(), xs.back())));
  const auto next = std::lower_bound(xs.begin(), xs.end(), x);  // the first that is not below
  const auto i = static_cast<std::size_t>(next - xs.begin());
  if (i == 0) return ys.front();
  const double part = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
  return ys[i - 1] + part * (ys[i] - ys[i - 1]);
}

namespace {

const std::vector<double>& axis(const Curve& curve, Budget budget) {
  return budget == Budget::flops ? curve.flops : curve.seconds;
}

}  // namespace

double common_budget(const std::vector<Contestant>& all, Budget budget) {
  double least = std::numeric_limits<double>::infinity();
  for (const Contestant& c : all)
    for (const Curve& curve : c.curves) least = std::min(least, axis(curve, budget).back());
  if (!std::isfinite(least)) throw Error("comparison: needs a training; got none");
  return least;
}

Reading read_all(const std::vector<Contestant>& all, Budget budget, double at) {
  if (all.empty()) throw Error("comparison: needs a router; got none");
  Reading reading{.budget = budget, .at = at};
  for (const Contestant& c : all) {
    if (c.curves.size() != all.front().curves.size())
      throw Error(fmt::format("comparison: every router needs the same seeds; got {} of {} and {} of {}",
                              all.front().curves.size(), all.front().name, c.curves.size(), c.name));
    reading.names.push_back(c.name);
    auto& loss = reading.loss.emplace_back();
    auto& accuracy = reading.accuracy.emplace_back();
    for (const Curve& curve : c.curves) {
      loss.push_back(read_at(axis(curve, budget), curve.loss, at));
      accuracy.push_back(read_at(axis(curve, budget), curve.accuracy, at));
    }
  }
  return reading;
}

// ---- who differs

namespace {

Versus versus(const Reading& reading, std::size_t a, std::size_t b) {
  return {.a = a, .b = b, .difference = paired_difference(reading.loss[a], reading.loss[b])};
}

std::vector<Versus> corrected(std::vector<Versus> family) {
  std::vector<double> p;
  for (const Versus& v : family) p.push_back(v.difference.p);
  const std::vector<double> after = holm(p);
  for (std::size_t i = 0; i < family.size(); ++i) {
    family[i].corrected_p = after[i];
    family[i].exceeds = after[i] < kLevel;
  }
  return family;
}

}  // namespace

std::vector<Versus> against(const Reading& reading, std::size_t one) {
  std::vector<Versus> family;
  for (std::size_t a = 0; a < reading.names.size(); ++a)
    if (a != one) family.push_back(versus(reading, a, one));
  return corrected(std::move(family));
}

std::vector<Versus> all_pairs(const Reading& reading) {
  std::vector<Versus> family;
  for (std::size_t a = 0; a < reading.names.size(); ++a)
    for (std::size_t b = a + 1; b < reading.names.size(); ++b) family.push_back(versus(reading, a, b));
  return corrected(std::move(family));
}

// ---- sentences

namespace {

std::string budget_text(const Reading& r) {
  return r.budget == Budget::flops ? fmt::format("At equal FLOPs ({:.3g} each)", r.at)
                                   : fmt::format("At equal wall time ({:.1f} s of training each)", r.at);
}

// An interval that does not hold 0, without its sign.
std::string by_how_much(const Reading& r, const Versus& v) {
  const double low = std::abs(v.difference.low), high = std::abs(v.difference.high);
  return fmt::format("{} by {:.4f} nats ({:.4f} to {:.4f})", r.names[v.a], std::abs(v.difference.mean),
                     std::min(low, high), std::max(low, high));
}

std::string joined(const std::vector<std::string>& parts, const char* between = ", ") {
  return fmt::format("{}", fmt::join(parts, between));
}

// Those of the family on one side, the largest difference first.
std::vector<std::string> exceeding(const Reading& r, std::vector<Versus> family, bool better) {
  std::sort(family.begin(), family.end(),
            [](const Versus& a, const Versus& b) { return std::abs(a.difference.mean) > std::abs(b.difference.mean); });
  std::vector<std::string> parts;
  for (const Versus& v : family)
    if (v.exceeds && (v.difference.mean < 0) == better) parts.push_back(by_how_much(r, v));
  return parts;
}

std::vector<std::string> within_noise(const Reading& r, const std::vector<Versus>& family) {
  std::vector<std::string> names;
  for (const Versus& v : family)
    if (!v.exceeds) names.push_back(r.names[v.a]);
  return names;
}

void compare_with_first(const Reading& r, const std::vector<Versus>& family, std::vector<std::string>& out) {
  const std::string& first = r.names.front();
  for (const bool better : {true, false})
    if (const auto parts = exceeding(r, family, better); !parts.empty())
      out.push_back(fmt::format("The loss is {} than that of {}, and the difference exceeds the seed noise, with {}.",
                                better ? "lower" : "higher", first, joined(parts)));
  if (const auto names = within_noise(r, family); names.size() == family.size())
    out.push_back(fmt::format("No router differs from {} by more than the seed noise.", first));
  else if (!names.empty())
    out.push_back(fmt::format("The difference to {} does not exceed the seed noise with {}.", first, joined(names)));
}

std::size_t lowest(const Reading& r) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < r.loss.size(); ++i)
    if (mean_of(r.loss[i]) < mean_of(r.loss[best])) best = i;
  return best;
}

// Chosen by its mean, so it has to stand the test among all pairs.
std::string about_the_lowest(const Reading& r) {
  const std::size_t best = lowest(r);
  std::vector<std::string> beaten, not_beaten;
  for (const Versus& v : all_pairs(r))
    if (v.a == best || v.b == best) (v.exceeds ? beaten : not_beaten).push_back(r.names[v.a == best ? v.b : v.a]);
  const std::string lead =
      fmt::format("The lowest mean loss is that of {}, {:.4f} nats", r.names[best], mean_of(r.loss[best]));
  if (not_beaten.empty()) return lead + "; among all pairs it exceeds the seed noise against every other router.";
  if (beaten.empty()) return lead + "; among all pairs that does not exceed the seed noise against any other router.";
  return fmt::format("{}; among all pairs it exceeds the seed noise against {}, but not against {}.", lead,
                     joined(beaten), joined(not_beaten));
}

// A mean difference that a correction for the whole family (its hardest step) would let through.
std::string what_could_be_seen(const Reading& r, const std::vector<Versus>& family) {
  std::vector<double> spread;
  for (const Versus& v : family) spread.push_back(v.difference.deviation);
  std::sort(spread.begin(), spread.end());
  const i64 pairs = family.front().difference.pairs;
  const double t = student_t(kLevel / static_cast<double>(family.size()), pairs - 1);
  const double least = t * spread[spread.size() / 2] / std::sqrt(static_cast<double>(pairs));
  return fmt::format(
             "With {} seeds, and differences between routers that vary from seed to seed as they do here, a typical "
             "difference "
             "must be about {:.3f} nats to be seen; smaller ones may exist.",
             pairs, least) +
         (r.budget == Budget::flops ? "" : " Times depend on the machine and on what else it does.");
}

}  // namespace

std::string verdict(const Versus& v) { return v.exceeds ? "exceeds the seed noise" : "does not exceed the seed noise"; }

std::vector<std::string> conclusion(const Reading& reading) {
  if (reading.names.size() < 2) throw Error("comparison: needs two routers; got fewer");
  const std::vector<Versus> family = against(reading, 0);
  const bool any = std::any_of(family.begin(), family.end(), [](const Versus& v) { return v.exceeds; });
  std::vector<std::string> sentences{budget_text(reading) + (any ? ", 95 % intervals in brackets:" : ":")};
  compare_with_first(reading, family, sentences);
  sentences.push_back(about_the_lowest(reading));
  sentences.push_back(what_could_be_seen(reading, family));
  return sentences;
}

std::string method_text(std::size_t routers, std::size_t seeds) {
  return fmt::format(
      "Every router is trained with the same {} seeds and the same settings, which were tuned for none of them. A seed "
      "gives the order of the images and the initial weights of all that is not a router or an expert, so losses are "
      "compared seed by seed: Student's paired test, two-sided, with {} degrees of freedom; intervals are those of 95 "
      "% "
      "for the mean difference, each by itself. The p values are corrected after Holm for {} comparisons with the "
      "first "
      "router, and for {} in the table of all pairs. A difference \"exceeds the seed noise\" where the corrected p is "
      "below {}: it speaks of other seeds, not of other images or settings. Between evaluations, curves are read from "
      "straight lines. The learning rate does not fall and the "
      "weights that are evaluated are a moving average, so that a curve may be read anywhere.",
      seeds, seeds - 1, routers - 1, routers * (routers - 1) / 2, kLevel);
}

}  // namespace examples

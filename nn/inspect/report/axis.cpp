#include "nn/inspect/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/fwd.h"

namespace moegrad::report {
namespace {

constexpr int kTicks = 5;

struct Unit {
  double size;
  const char* name;
};

Unit unit_of(double value) {
  const double v = std::abs(value);
  for (const Unit& u : {Unit{1e12, "T"}, Unit{1e9, "G"}, Unit{1e6, "M"}, Unit{1e3, "k"}})
    if (v >= u.size && v >= 1e4) return u;
  return {1, ""};
}

// Hyphens of numbers become minus signs, which are as wide as a digit.
std::string with_minus(std::string text) {
  std::string out;
  for (const char c : text) c == '-' ? out += "\u2212" : out += c;
  return out;
}

// "1.50e-09" -> "1.5e-9"
std::string power_of_ten(double value, int digits) {
  std::string text = fmt::format("{:.{}e}", value, std::max(0, digits - 1));
  const std::size_t e = text.find('e');
  std::string mantissa = text.substr(0, e);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  return with_minus(fmt::format("{}e{}", mantissa, std::stoi(text.substr(e + 1))));
}

bool far_from_one(double value) { return value != 0 && (std::abs(value) < 1e-4 || std::abs(value) >= 1e15); }

int exponent(double value) { return static_cast<int>(std::floor(std::log10(value) + 1e-9)); }

double round_step(double range, int count, bool whole = false) {
  if (whole && range <= count) return 1;
  const double rough = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

// Too close together for doubles to count between them.
bool same(double low, double high) { return !(high - low > 1e-11 * std::max(std::abs(low), std::abs(high))); }

// Powers of ten; with `few`, 1, 2 and 5 of each.
std::vector<double> log_ticks(double low, double high, bool few) {
  std::vector<double> ticks;
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(high) - 1e-9));
  const int every = (last - first) / 8 + 1;
  for (int power = first; power <= last; power += every)
    for (const double factor : {1.0, 2.0, 5.0})
      if (const double tick = factor * std::pow(10.0, power);
          (few || factor == 1) && tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9))
        ticks.push_back(tick);
  return ticks;
}

Axis log_axis(double low, double high) {
  if (same(low, high)) low /= 2, high *= 2;
  const double decades = std::log10(high / low);
  Axis axis{.low = low, .high = high, .log = true};
  if (decades < 2) {  // ends at 1, 2 or 5 of a power of ten
    const std::vector<double> ticks = log_ticks(low / 10, high * 10, true);
    for (const double t : ticks) {
      if (t <= low * (1 + 1e-9)) axis.low = t;
      if (t >= high * (1 - 1e-9)) {
        axis.high = t;
        break;
      }
    }
  } else {
    axis.low = std::pow(10.0, std::floor(std::log10(low) + 1e-9));
    axis.high = std::pow(10.0, std::ceil(std::log10(high) - 1e-9));
  }
  axis.ticks = log_ticks(axis.low, axis.high, decades < 2);
  for (const double t : axis.ticks) axis.labels.push_back(number(t, 3));
  return axis;
}

}  // namespace

std::string number(double value, int digits) {
  if (std::isnan(value)) return "";
  if (std::isinf(value)) return value > 0 ? "\u221E" : "\u2212\u221E";
  if (far_from_one(value)) return power_of_ten(value, digits);
  const Unit unit = unit_of(value);
  const std::string text = fmt::format("{:.{}g}", value / unit.size, digits);
  if (text.find('e') != std::string::npos) return with_minus(fmt::format("{:.0f}{}", value / unit.size, unit.name));
  return with_minus(text + unit.name);
}

double Axis::at(double value) const {
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

std::vector<double> round_ticks(double low, double high, int count, bool whole) {
  const double step = round_step(high - low, count, whole);
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (double i = first; i * step <= high + step * 1e-9 && ticks.size() < 100; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  double most = 0, step = 0;
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    most = std::max(most, std::abs(ticks[i]));
    if (i > 0) step = i == 1 ? ticks[1] - ticks[0] : std::min(step, ticks[i] - ticks[i - 1]);
  }
  if (step == 0) step = most;
  std::vector<std::string> labels;
  Unit unit = unit_of(most);
  const auto places = [&] { return step > 0 ? std::max(0, -exponent(step / unit.size)) : 0; };
  if (places() > 3) unit = {1, ""};  // "1000000.2" rather than "1.0000002M"
  const int digits = places();
  for (const double t : ticks) {
    if (t == 0)
      labels.push_back("0");
    else if (far_from_one(most))
      labels.push_back(power_of_ten(t, 1 + exponent(most) - exponent(step)));
    else
      labels.push_back(with_minus(fmt::format("{:.{}f}{}", t / unit.size, std::min(digits, 15), unit.name)));
  }
  return labels;
}

Axis position_axis(double low, double high, bool whole) {
  Axis axis{.low = low, .high = high};
  if (same(low, high)) {
    const double room = low == 0 ? 1 : std::abs(low) / 2;
    axis.low = low - room;
    axis.high = low + room;
    axis.ticks = {low};
  } else {
    const double step = round_step(high - low, 7),
                 near = 0.03 * (high - low);  // steps that begin at 1 and end at 49,999
    if (low > 0 && low < near) axis.low = 0;
    if (const double end = std::ceil(high / step - 1e-9) * step; end - high < near) axis.high = end;
    axis.ticks = round_ticks(axis.low, axis.high, 7, whole);
  }
  axis.labels = tick_labels(axis.ticks);
  return axis;
}

Axis value_axis(double low, double high, bool log) {
  if (log) return log_axis(low, high);
  if (same(low, high)) {
    const double room = low == 0 ? 1 : std::abs(low) / 10;
    high = low + room;
    low = low == 0 ? 0 : low - room;
  }
  if (low > 0 && low < high * 0.4) low = 0;
  if (high < 0 && high > low * 0.4) high = 0;
  Axis axis;
  const double step = round_step(high - low, kTicks);
  axis.low = std::floor(low / step + 1e-9) * step;
  axis.high = std::ceil(high / step - 1e-9) * step;
  axis.ticks = round_ticks(axis.low, axis.high, static_cast<int>(std::round((axis.high - axis.low) / step)));
  axis.labels = tick_labels(axis.ticks);
  return axis;
}

}  // namespace moegrad::report

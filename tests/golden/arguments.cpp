#include "tests/golden/arguments.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace moegrad::golden {
namespace {

template <class F> double limit_of(const std::string& word) {
  using Limits = std::numeric_limits<F>;
  if (word == "inf" || word == "infinity") return Limits::infinity();
  if (word == "nan") return Limits::quiet_NaN();
  if (word == "finfo.max") return Limits::max();
  if (word == "finfo.min") return Limits::lowest();
  if (word == "finfo.eps") return Limits::epsilon();
  if (word == "finfo.tiny") return Limits::min();
  throw CaseError(fmt::format("unknown number \"{}\"", word));
}

double number_of(const std::string& key, const Json& value, DType dtype) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) throw CaseError(fmt::format("argument '{}' must be a number; got {}", key, value.dump()));
  std::string word = value.get<std::string>();
  const bool negative = word.starts_with('-');
  if (negative || word.starts_with('+')) word.erase(0, 1);
  const double magnitude = dtype == DType::f32 ? limit_of<float>(word) : limit_of<double>(word);
  return negative ? -magnitude : magnitude;
}

i64 integer_of(const std::string& key, const Json& value) {
  if (value.is_number_integer()) return value.get<i64>();
  const bool whole = value.is_number() && std::abs(value.get<double>()) < 0x1p53 &&
                     std::trunc(value.get<double>()) == value.get<double>();
  if (!whole) throw CaseError(fmt::format("argument '{}' must be a whole number; got {}", key, value.dump()));
  return static_cast<i64>(value.get<double>());
}

std::vector<i64> integers_of(const std::string& key, const Json& value) {
  if (!value.is_array()) return {integer_of(key, value)};
  std::vector<i64> list;
  for (const Json& v : value) list.push_back(integer_of(key, v));
  return list;
}

int axis_of(const std::string& key, i64 value) {
  if (value < -1000 || value > 1000) throw CaseError(fmt::format("argument '{}' is no axis: {}", key, value));
  return static_cast<int>(value);
}

}  // namespace

bool Arguments::has(const std::string& key) {
  if (!values_.contains(key)) return false;
  if (values_.at(key).is_null()) read_.insert(key);
  return !values_.at(key).is_null();
}

const Json& Arguments::at(const std::string& key) {
  if (!values_.is_object()) throw CaseError(fmt::format("the arguments must be an object; got {}", values_.dump()));
  if (!values_.contains(key)) throw CaseError(fmt::format("the argument '{}' is missing", key));
  read_.insert(key);
  return values_.at(key);
}

template <class T, class Read> T Arguments::read_or(const std::string& key, T otherwise, Read read) {
  read_.insert(key);
  return has(key) ? read() : otherwise;
}

double Arguments::number(const std::string& key) { return number_of(key, at(key), dtype_); }
double Arguments::number(const std::string& key, double otherwise) {
  return read_or(key, otherwise, [&] { return number(key); });
}
i64 Arguments::integer(const std::string& key) { return integer_of(key, at(key)); }
i64 Arguments::integer(const std::string& key, i64 otherwise) {
  return read_or(key, otherwise, [&] { return integer(key); });
}
bool Arguments::flag(const std::string& key, bool otherwise) {
  return read_or(key, otherwise, [&] {
    const Json& value = at(key);
    if (!value.is_boolean())
      throw CaseError(fmt::format("argument '{}' must be true or false; got {}", key, value.dump()));
    return value.get<bool>();
  });
}
std::string Arguments::text(const std::string& key) {
  const Json& value = at(key);
  if (!value.is_string()) throw CaseError(fmt::format("argument '{}' must be a text; got {}", key, value.dump()));
  return value.get<std::string>();
}
std::string Arguments::text(const std::string& key, const std::string& otherwise) {
  return read_or(key, otherwise, [&] { return text(key); });
}
std::vector<i64> Arguments::integers(const std::string& key) { return integers_of(key, at(key)); }
std::vector<i64> Arguments::integers(const std::string& key, const std::vector<i64>& otherwise) {
  return read_or(key, otherwise, [&] { return integers(key); });
}
int Arguments::axis(const std::string& key) { return axis_of(key, integer(key)); }
int Arguments::axis(const std::string& key, int otherwise) {
  return read_or(key, otherwise, [&] { return axis(key); });
}
std::optional<Axes> Arguments::axes(const std::string& key) {
  Axes axes;
  for (const i64 a : integers(key, {})) axes.push_back(axis_of(key, a));
  if (axes.empty()) return std::nullopt;
  return axes;
}
Shape Arguments::shape(const std::string& key) {
  const std::vector<i64> sizes = integers(key);
  return Shape(sizes.begin(), sizes.end());
}
std::vector<Shape> Arguments::shapes(const std::string& key) {
  const Json& list = at(key);
  if (!list.is_array()) throw CaseError(fmt::format("argument '{}' must be a list of shapes", key));
  std::vector<Shape> shapes;
  for (const Json& v : list) {
    const std::vector<i64> sizes = integers_of(key, v);
    shapes.emplace_back(sizes.begin(), sizes.end());
  }
  return shapes;
}
std::pair<i64, i64> Arguments::pair(const std::string& key, std::pair<i64, i64> otherwise) {
  return read_or(key, otherwise, [&] {
    const std::vector<i64> list = integers(key);
    if (list.size() != 1 && list.size() != 2)
      throw CaseError(fmt::format("argument '{}' must be one number or two; got {}", key, list.size()));
    return std::pair(list.front(), list.back());
  });
}
std::vector<std::pair<std::string, i64>> Arguments::sizes(const std::string& key) {
  std::vector<std::pair<std::string, i64>> sizes;
  read_.insert(key);
  if (!has(key)) return sizes;
  for (const auto& [name, size] : at(key).items()) sizes.emplace_back(name, integer_of(name, size));
  return sizes;
}
std::vector<double> Arguments::numbers(const std::string& key) {
  const Json& list = at(key);
  if (!list.is_array()) throw CaseError(fmt::format("argument '{}' must be a list of numbers", key));
  std::vector<double> numbers;
  for (const Json& v : list) numbers.push_back(number_of(key, v, dtype_));
  return numbers;
}

bool Arguments::is_list(const std::string& key) const { return values_.contains(key) && values_.at(key).is_array(); }

Arguments Arguments::within(const std::string& key) {
  return read_or(key, Arguments(Json::object(), dtype_), [&] {
    const Json& value = at(key);
    if (!value.is_object())
      throw CaseError(fmt::format("argument '{}' must hold arguments; got {}", key, value.dump()));
    return Arguments(value, dtype_);
  });
}

void Arguments::check_all_read() const {
  std::string unknown;
  for (const auto& [key, value] : values_.items())
    if (!read_.count(key)) unknown += fmt::format("{}{} = {}", unknown.empty() ? "" : ", ", key, value.dump());
  if (!unknown.empty()) throw CaseError("unknown argument: " + unknown);
}

const Tensor& Inputs::operator[](int i) {
  if (i < 0 || i >= count()) throw CaseError(fmt::format("input {} is missing; the case has {}", i, count()));
  read_.insert(i);
  return tensors_[static_cast<std::size_t>(i)];
}

Tensor Inputs::maybe(int i) { return i < count() ? (*this)[i] : Tensor{}; }

const std::vector<Tensor>& Inputs::all() {
  for (int i = 0; i < count(); ++i) read_.insert(i);
  return tensors_;
}

void Inputs::check_all_read() const {
  for (int i = 0; i < count(); ++i)
    if (!read_.count(i)) throw CaseError(fmt::format("unknown input {}: the adapter does not read it", i));
}

}  // namespace moegrad::golden

// Plans that are made once for an equation or pattern and the shapes it meets, and found again at every later call.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/shape.h"

namespace moegrad {

/// Everything that a plan depends on, as bytes. Made anew at each call, in a buffer that each thread keeps.
class PlanKey {
 public:
  PlanKey() : bytes_(buffer()) { bytes_.clear(); }
  PlanKey& text(std::string_view s) {
    number(static_cast<i64>(s.size()));
    bytes_.append(s);
    return *this;
  }
  PlanKey& number(i64 v) { return raw(&v, sizeof v); }
  template <class T> PlanKey& list(const InlineList<T>& values) {
    number(values.size());
    return raw(values.begin(), sizeof(T) * static_cast<std::size_t>(values.size()));
  }
  const std::string& bytes() const { return bytes_; }

 private:
  PlanKey& raw(const void* p, std::size_t n) {
    bytes_.append(static_cast<const char*>(p), n);
    return *this;
  }
  static std::string& buffer() {
    thread_local std::string bytes;
    return bytes;
  }
  std::string& bytes_;
};

/// At most 2 * kGeneration plans: when the young generation is full it becomes the old one, and what the old one held
/// and nobody asked for since is forgotten. Each thread has a cache of its own, so there are no locks.
template <class Plan> class PlanCache {
 public:
  static constexpr std::size_t kGeneration = 512;

  /// The plan of `key`; `make` (() -> Plan) is called where there is none. What it throws passes through.
  template <class Make> std::shared_ptr<const Plan> get(const PlanKey& key, Make&& make) {
    if (const auto at = young_.find(key.bytes()); at != young_.end()) return at->second;
    const std::string bytes = key.bytes();  // `make` may use the buffer
    std::shared_ptr<const Plan> plan;
    if (const auto at = old_.find(bytes); at != old_.end()) {
      plan = at->second;
    } else {
      plan = std::make_shared<const Plan>(make());
      ++made_;
    }
    if (young_.size() >= kGeneration) {
      old_ = std::move(young_);
      young_.clear();
    }
    young_.emplace(bytes, plan);
    return plan;
  }
  std::size_t size() const { return young_.size() + old_.size(); }
  i64 made() const { return made_; }  ///< calls of `make` that returned

 private:
  std::unordered_map<std::string, std::shared_ptr<const Plan>> young_, old_;
  i64 made_ = 0;
};

}  // namespace moegrad

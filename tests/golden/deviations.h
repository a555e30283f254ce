// Where moegrad differs from a reference on purpose: only where the reference is plainly wrong, and at most a dozen
// rows. A case named here still runs, and fails if it does not deviate.
#pragma once
#include <span>
#include <string>

#include "tests/golden/bundle.h"

namespace moegrad::golden {

struct Deviation {
  const char* subject;                  ///< the class of a layer file, or the op of a case
  bool (*applies)(const Json& config);  ///< by the layer's config or the call's arguments
  const char* reason;
};

inline std::span<const Deviation> known_deviations() {
  static const Deviation rows[] = {
      {"moefy samplers (SIMPLE)", [](const Json& config) { return config.value("k", 0) > 2; },
       "its backward pass reads a table made for k = 2, so that the gradient is 0 for more"},
  };
  return rows;
}

/// The reason why a case is expected to deviate, or nullptr.
inline const char* deviation_of(std::span<const Deviation> deviations, const std::string& subject, const Json& config) {
  for (const Deviation& d : deviations)
    if (subject == d.subject && d.applies(config)) return d.reason;
  return nullptr;
}

}  // namespace moegrad::golden

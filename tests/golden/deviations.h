// Where moegrad differs from a reference on purpose: only where the reference is plainly wrong, and at most a dozen
// rows. A case named here still runs. It fails if it does not deviate, and if anything else in it does.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "tests/golden/bundle.h"

namespace moegrad::golden {

struct Deviation {
  const char* subject;  ///< the class of a layer file, or the op of a case
  /// By the call's arguments, or by the layer's config, to which "variant" and the shapes "in.x", .. are added.
  bool (*applies)(const Json& about);
  const char* reason;
  /// What has other values: tensors, or how their names begin. The first must, the others may.
  std::vector<std::string> tensors;
};

inline std::span<const Deviation> known_deviations() {
  static const Deviation rows[] = {
      {"moefy samplers (SIMPLE)",
       [](const Json& about) { return about.value("k", 0) > 2; },
       "its backward pass reads a table made for k = 2, so that the gradient is 0 for more",
       {"out.code_backward_f32"}},
      {"pytorch-mixtures MoELayer",
       [](const Json& about) {
         return about.value("variant", "") == "as-is" && about.value("num_experts", 1) > 1 && about.contains("in.x") &&
                about["in.x"].at(0) > 1;
       },
       "outputs [E, B, ..] are read as [B, E, ..]: what belongs to one row is added to another",
       {"out.y", "grad."}},
  };
  return rows;
}

/// How a case is expected to deviate, or nullptr.
inline const Deviation* deviation_of(std::span<const Deviation> deviations, const std::string& subject,
                                     const Json& about) {
  for (const Deviation& d : deviations)
    if (subject == d.subject && d.applies(about)) return &d;
  return nullptr;
}

}  // namespace moegrad::golden

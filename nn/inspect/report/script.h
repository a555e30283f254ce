#pragma once
#include <string>

namespace moegrad::report {

/// The script of a page: values under the pointer, the choice of a layer, light and dark, and, on request by the
/// address, a check of itself ("#check": what overflows or overlaps is written into attributes of the page).
std::string script();

}  // namespace moegrad::report

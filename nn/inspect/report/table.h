#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

///   Errors  ShapeError: a row has not as many cells as the header
Drawn draw(const Table& table);

/// The SVG as it is. Its ids get a prefix, so that two drawings can stand in one page.
///   Errors  ShapeError: it is not one <svg> element, or it holds a script or an address of another file
Drawn draw(const Drawing& drawing, const std::string& id_prefix);

}  // namespace moegrad::report

// Text and data as a page may hold them, whatever they are.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace moegrad::report {

/// Valid UTF-8: bytes that are none become U+FFFD, control characters other than newline and tab their pictures (U+2400
/// and following), and marks that turn the direction of writing U+FFFD.
std::string clean(std::string_view text);

/// `text` between tags or in an attribute: clean, with & < > " ' escaped.
std::string escape(std::string_view text);

/// A character that a reader can point at: newline and tab have a mark of their own, "" is an empty set. Not escaped.
std::string visible(std::string_view character);

/// Values for the script: whole numbers as they are, others rounded to six digits, null where there is none.
nlohmann::json numbers(const std::vector<double>& values);

/// <script type="application/json" class="data">..</script>, without a "<" inside.
std::string data_element(const nlohmann::json& data);

}  // namespace moegrad::report

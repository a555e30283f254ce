// Reading a page in a test: is it well-formed, and what does it say of its figures.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

namespace moegrad::test {

/// "" or what is wrong first: an element that is not closed, an attribute without quotes, a bare "<" or "&".
inline std::string malformed(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t i = 0; i < html.size();) {
    const auto near = [&](const std::string& what) { return what + " at: " + html.substr(i, 60); };
    if (html[i] == '&' && html.find(';', i) > i + 8) return near("a bare &");
    if (html[i] == '>') return near("a bare >");
    if (html[i] != '<') {
      ++i;
      continue;
    }
    const std::size_t end = html.find('>', i);  // > in attributes is escaped
    if (end == std::string::npos) return near("an open tag");
    const std::string tag = html.substr(i + 1, end - i - 1);
    if (tag.find('<') != std::string::npos) return near("a < in a tag");
    i = end + 1;
    if (tag[0] == '!') continue;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1))
        return "</" + tag.substr(1) + "> closes " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
      continue;
    }
    const std::string name = tag.substr(0, tag.find_first_of(" /"));
    if (std::count(tag.begin(), tag.end(), '"') % 2 == 1) return "quotes in <" + tag + ">";
    if (name == "script" || name == "style") {
      i = html.find("</" + name + ">", i);
      if (i == std::string::npos) return "an open " + name;
    }
    if (tag.back() != '/' && name != "br" && name != "img" && name != "meta" && name != "link") open.push_back(name);
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

inline std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t i = 0; (i = text.find(what, i)) != std::string::npos; i += what.size()) ++n;
  return n;
}

}  // namespace moegrad::test

#include "tests/support/coverage.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/listener.h"

namespace moegrad::test {
namespace {

void append(const std::string& line) {
  const char* const path = std::getenv("MOEGRAD_COVERAGE");
  if (!path) return;
  std::FILE* const file = std::fopen(path, "a");
  if (!file) throw std::runtime_error(fmt::format("MOEGRAD_COVERAGE: cannot write {}", path));
  std::fprintf(file, "%s\n", line.c_str());
  std::fclose(file);
}

// Sees every assertion that expects an error with a text.
struct ErrorTexts : Listener {
  explicit ErrorTexts(const doctest::ContextOptions&) {}
  void log_assert(const doctest::AssertData& a) override {
    if (!a.m_failed && (a.m_at & doctest::assertType::is_throws_with))
      append(fmt::format("error\t{}", a.m_exception.c_str()));
  }
};
REGISTER_LISTENER("error_texts", 1, ErrorTexts);

}  // namespace

void note(const Evidence& e) {
  append(fmt::format("check\t{}\t{}\t{}\t{:d}\t{:d}\t{:d}", e.op, fmt::join(e.dtypes, " "), e.order, e.strided,
                     e.broadcast, e.empty));
}

}  // namespace moegrad::test

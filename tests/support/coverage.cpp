#include "tests/support/coverage.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

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
struct ErrorTexts : doctest::IReporter {
  explicit ErrorTexts(const doctest::ContextOptions&) {}
  void log_assert(const doctest::AssertData& a) override {
    if (!a.m_failed && (a.m_at & doctest::assertType::is_throws_with))
      append(fmt::format("error\t{}", a.m_exception.c_str()));
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("error_texts", 1, ErrorTexts);

}  // namespace

void note(const Evidence& e) {
  append(fmt::format("check\t{}\t{}\t{}\t{:d}\t{:d}\t{:d}", e.op, fmt::join(e.dtypes, " "), e.order, e.strided,
                     e.broadcast, e.empty));
}

}  // namespace moegrad::test

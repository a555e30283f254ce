// The test program. Tensors are made on the device that the environment variable MOEGRAD_DEVICE names (cpu or cuda). A run that selects no test case fails, so a filter with a misspelt name cannot pass.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "core/device.h"
#include "tests/support/listener.h"

namespace {

unsigned selected_cases = 0;

struct CountCases : moegrad::test::Listener {
  explicit CountCases(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& run) override { selected_cases = run.numTestCasesPassingFilters; }
};
REGISTER_LISTENER("count_cases", 1, CountCases);

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  if (!context.shouldExit()) {
    const char* device = std::getenv("MOEGRAD_DEVICE");
    try {
      if (device) moegrad::set_default_device(moegrad::device_named(device));
    } catch (const moegrad::Error& e) {
      std::fprintf(stderr, "moegrad_tests: %s\n", e.what());
      return 1;
    }
  }
  const int result = context.run();
  if (context.shouldExit()) return result;  // --help, --list-test-cases and the like
  if (selected_cases == 0) {
    std::fputs("moegrad_tests: no test case matches the filter\n", stderr);
    return 1;
  }
  return result;
}

#include "examples/training/terminal.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "core/errors.h"

using namespace examples;

namespace {

// What an app with these options makes of a command line.
struct Little {
  Little() {
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.add_option("--steps", steps)->capture_default_str()->check(CLI::Range(0, 100));
    app.add_option("--data", data)->capture_default_str();
    app.add_flag("--resume", resume);
    app.add_flag("--graph", graph);
    add_config_options(app);
  }
  int run(
      std::vector<const char*> arguments, const std::function<int()>& body = [] { return 0; }) {
    arguments.insert(arguments.begin(), "/somewhere/little");
    return run_program(app, static_cast<int>(arguments.size()), arguments.data(), body);
  }
  CLI::App app{"A little program."};
  int steps = 7;
  std::string data;
  bool resume = false, graph = false;
};

}  // namespace

TEST_CASE("colours: on a terminal only, and not where NO_COLOR has a text") {
  CHECK(colours_wanted(true, nullptr, "xterm"));
  CHECK(colours_wanted(true, "", nullptr));
  CHECK_FALSE(colours_wanted(true, "1", "xterm"));
  CHECK_FALSE(colours_wanted(true, nullptr, "dumb"));
  CHECK_FALSE(colours_wanted(false, nullptr, "xterm"));
  CHECK(painted("a", Colour::red, false) == "a");
  CHECK(painted("a", Colour::red, true) == "\033[31ma\033[0m");
}

TEST_CASE("run_program: what exit code means what") {
  CHECK(Little().run({}) == kDone);
  CHECK(Little().run({}, [] { return kStopped; }) == kStopped);
  CHECK(Little().run({}, []() -> int { throw Error("broken"); }) == kError);
  CHECK(Little().run({"--steps", "many"}) == kWrongOptions);
  CHECK(Little().run({"--stpes", "3"}) == kWrongOptions);
  Little little;
  CHECK(little.run({"--steps", "5"}) == kDone);
  CHECK(little.app.get_name() == "little");
}

TEST_CASE("nearest: a slip of the fingers finds its option, nonsense finds none") {
  const std::vector<std::string> known{"--steps", "--data", "--seed"};
  CHECK(nearest("--stpes", known) == "--steps");
  CHECK(nearest("--date", known) == "--data");
  CHECK(nearest("--zzzzzzz", known).empty());
  CHECK(nearest("--a", {}).empty());
}

TEST_CASE("with_hint: the hint stands behind the error") {
  CHECK_THROWS_WITH_AS(with_hint("do this", [] { throw IoError("it failed"); }), "it failed (do this)", Error);
}

TEST_CASE("command_line: what was set, quoted, without what shows or resumes") {
  CHECK(shell_quoted("a-b_c.d/e=1") == "a-b_c.d/e=1");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_quoted("it's") == "'it'\\''s'");
  Little little;
  REQUIRE(little.run({"--data", "my file", "--steps", "3", "--steps", "4", "--resume", "--graph"}) == kDone);
  CHECK(command_line(little.app, "build/little") == "build/little --steps 4 --data 'my file' --graph");
}

TEST_CASE("config: what is written gives the same options again, and what is typed wins") {
  const std::string path = (std::filesystem::temp_directory_path() / "moegrad_terminal_test.toml").string();
  REQUIRE(Little().run({"--steps", "9", "--data", "a \"b\"", "--graph", "--write-config", path.c_str()}) == kDone);
  Little again;
  REQUIRE(again.run({"--config", path.c_str()}) == kDone);
  CHECK(again.steps == 9);
  CHECK(again.data == "a \"b\"");
  CHECK(again.graph);
  CHECK_FALSE(again.resume);
  Little other;
  REQUIRE(other.run({"--config", path.c_str(), "--steps", "2"}) == kDone);
  CHECK(other.steps == 2);
  std::filesystem::remove(path);
  CHECK(Little().run({"--config", path.c_str()}) == kWrongOptions);
}

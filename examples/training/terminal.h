// How programs meet people and other programs: options, colours, errors in one line, exit codes.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "core/fwd.h"

namespace examples {

using namespace moegrad;

/// Exit codes. Stopped is 128 + SIGINT, as a shell expects.
inline constexpr int kDone = 0, kError = 1, kWrongOptions = 2, kStopped = 130;
/// The same for a help text.
extern const char* const kExitCodes;

/// Colours are for terminals, and off where the environment has NO_COLOR with any text, or TERM=dumb.
///   Source  no-color.org
bool colours_wanted(bool terminal, const char* no_color, const char* term);
/// The same of a stream of this process: STDOUT_FILENO, STDERR_FILENO.
bool colours_on(int stream);

enum class Colour { red, green, yellow, bold };
/// The text between escape codes; as it is if not `on`.
std::string painted(const std::string& text, Colour colour, bool on);

/// Reads the options, then does `body`. Whatever is thrown becomes one line on stderr, "train_lm: <what is wrong>", and
/// an exit code: what `body` returns, kError, or kWrongOptions, which names the option that is most alike.
int run_program(CLI::App& app, int argc, const char* const* argv, const std::function<int()>& body);

/// Does `body`; an Error of it gets " (<hint>)" at its end.
void with_hint(const std::string& hint, const std::function<void()>& body);

/// An option that takes a number of [least, most]; the help text shows its default.
template <class T>
void add_number(CLI::App& app, const char* name, T& value, const char* help, double least, double most = 1e9) {
  app.add_option(name, value, help)
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(least, most).description(""));
}

/// An option that takes one of a few words.
void add_choice(CLI::App& app, const char* name, std::string& value, const char* help,
                const std::vector<std::string>& words);

/// --config FILE and --write-config FILE, for programs with many options. What is typed goes before what a file says.
void add_config_options(CLI::App& app);

/// The command that gives this run again: the program and every option that was set, typed or from a file, quoted for a
/// shell; but those that say how it is shown or where it began (quiet, json, resume, ..).
std::string command_line(const CLI::App& app, const std::string& program);
/// 'a b' for what a shell would take apart; else the text as it is.
std::string shell_quoted(const std::string& text);

/// The known name that is most like `name`, at most a third of its letters away; "": none is.
std::string nearest(const std::string& name, const std::vector<std::string>& known);

}  // namespace examples

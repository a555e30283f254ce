#include "examples/training/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/atomic_file.h"
#include "core/errors.h"

namespace examples {

const char* const kExitCodes =
    "Exit codes: 0 done, 1 an error, 2 wrong options, 130 stopped by Ctrl-C or SIGTERM (its checkpoint is written).";

bool colours_wanted(bool terminal, const char* no_color, const char* term) {
  if (!terminal || (no_color != nullptr && *no_color != '\0')) return false;
  return term == nullptr || std::string(term) != "dumb";
}

bool colours_on(int stream) {
  return colours_wanted(isatty(stream) != 0, std::getenv("NO_COLOR"), std::getenv("TERM"));
}

std::string painted(const std::string& text, Colour colour, bool on) {
  if (!on) return text;
  const int code = colour == Colour::red ? 31 : colour == Colour::green ? 32 : colour == Colour::yellow ? 33 : 1;
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

namespace {

// Letters to insert, delete or replace.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// "The following argument was not expected: --stpes" has the name behind its last space.
std::string advice(const CLI::App& app, const std::string& error) {
  const std::string last = error.substr(error.find_last_of(' ') + 1);
  const std::string known = last.starts_with("--") ? nearest(last, option_names(app)) : "";
  return known.empty() ? fmt::format("{} --help lists the options", app.get_name())
                       : fmt::format("did you mean {}?", known);
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

int complain(const CLI::App& app, const std::string& text, int code) {
  fmt::print(stderr, "{}: {}\n", painted(app.get_name(), Colour::red, colours_on(STDERR_FILENO)), one_line(text));
  return code;
}

}  // namespace

std::string nearest(const std::string& name, const std::vector<std::string>& known) {
  const auto closer = [&](const std::string& a, const std::string& b) { return distance(name, a) < distance(name, b); };
  const auto best = std::min_element(known.begin(), known.end(), closer);
  return best == known.end() || distance(name, *best) > name.size() / 3 ? "" : *best;
}

int run_program(CLI::App& app, int argc, const char* const* argv, const std::function<int()>& body) {
  if (app.get_name().empty()) {
    const std::string path = argc > 0 ? argv[0] : "program";
    app.name(path.substr(path.find_last_of('/') + 1));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::Error& error) {
    return complain(app, fmt::format("{} ({})", error.what(), advice(app, error.what())), kWrongOptions);
  }
  try {
    return body();
  } catch (const std::exception& error) {
    return complain(app, error.what(), kError);
  }
}

void with_hint(const std::string& hint, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    throw Error(fmt::format("{} ({})", error.what(), hint));
  }
}

void add_choice(CLI::App& app, const char* name, std::string& value, const char* help,
                const std::vector<std::string>& words) {
  std::string text = fmt::format("{}; one of", help);
  for (const std::string& word : words) text += " " + word;
  app.add_option(name, value, text)
      ->capture_default_str()
      ->type_name("NAME")
      ->check(CLI::IsMember(words).description(""));
}

void add_config_options(CLI::App& app) {
  app.set_config("--config", "", "read options from a file, as --write-config writes it; what is typed wins");
  app.add_option_function<std::string>(
         "--write-config",
         [&app](const std::string& path) {
           const std::string text = app.config_to_str(true, true);
           AtomicFile file(path);
           file.write(text.data(), text.size());
           file.commit();
         },
         "write all options of this run to a file for --config")
      ->configurable(false)
      ->type_name("FILE");
}

std::string shell_quoted(const std::string& text) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("-_./=+:,%@", c);
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string command_line(const CLI::App& app, const std::string& program) {
  static const std::set<std::string> left_out{"config", "write-config", "quiet", "json", "resume"};
  std::string line = shell_quoted(program);
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    const std::string& name = option->get_lnames().front();
    if (left_out.contains(name)) continue;
    const bool flag = option->get_expected_min() == 0;
    if (flag && option->results().back() == "false") continue;
    line += " --" + name;
    if (!flag) line += " " + shell_quoted(option->results().back());
  }
  return line;
}

}  // namespace examples

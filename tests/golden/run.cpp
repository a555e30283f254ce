#include "tests/golden/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "core/atomic_file.h"
#include "core/errors.h"
#include "tests/golden/layers.h"

namespace moegrad::golden {
namespace {

namespace fs = std::filesystem;

// ---- one case

void run_case(Bundle& bundle, const Case& c, Comparison& comparison) {
  static const Ops ops = all_ops(), patterns = pattern_ops();
  if (bundle.has(c.name + ".lr")) return run_schedule(bundle, c, comparison);
  if (!bundle.names(c.name + ".params.").empty()) return run_optimizer(bundle, c, comparison);
  if (c.op.starts_with("clip_")) return run_clipping(bundle, c, comparison);
  run_call(bundle, c, c.args.contains("pattern") ? patterns : ops, comparison);
}

// Runs `body`, and judges what it compared. `subject` and `config` are what the table of deviations knows a case by.
struct Judge {
  double tolerance;
  std::span<const Deviation> deviations;

  template <class Body> Result operator()(Result r, const std::string& subject, const Json& config, Body body) const {
    const Deviation* expected = deviation_of(deviations, subject, config);
    Comparison comparison(tolerance, expected ? expected->tensors : std::vector<std::string>{});
    try {
      body(comparison);
      if (comparison.passed() && comparison.tensors() == 0) comparison.fail("nothing was compared");
      if (expected && comparison.passed() && !comparison.differed(expected->tensors.front()))
        comparison.fail(
            fmt::format("{} should deviate, and does not: {}", expected->tensors.front(), expected->reason));
    } catch (const std::exception& e) {
      comparison.fail(e.what());
    }
    r.worst = comparison.worst();
    r.tensors = comparison.tensors();
    r.reason = comparison.reason();
    r.status = comparison.passed() ? Status::passed : Status::failed;
    if (expected && comparison.passed()) {
      r.status = Status::deviating;
      r.reason = expected->reason;
    }
    return r;
  }
};

// ---- one file

bool wanted(const std::string& path, const std::string& filter) {
  return path.starts_with(filter) || filter.empty() || path.find(filter) != std::string::npos;
}

// A case whose tensors are shared by the others and that computes nothing itself.
bool is_data(const Bundle& bundle, const Case& c) { return c.op == "data" && bundle.names(c.name + ".out.").empty(); }

// A file that has been read is checked to its end: numbers that nothing was compared with are a failure.
void check_all_taken(const Bundle& bundle, const std::string& prefix) {
  const auto left = bundle.untaken(prefix);
  if (!left.empty()) throw CaseError(fmt::format("nothing was compared with '{}'", left.front()));
}

// Every tensor must belong to a case: one that is not listed would never be compared.
void check_no_strays(const Bundle& bundle, const std::vector<Case>& cases) {
  const auto belongs = [&](const std::string& tensor) {
    return std::any_of(cases.begin(), cases.end(), [&](const Case& c) { return tensor.starts_with(c.name + "."); });
  };
  for (const std::string& tensor : bundle.names(""))
    if (!belongs(tensor)) throw CaseError(fmt::format("the tensor '{}' belongs to no case", tensor));
}

std::vector<Result> run_cases(Bundle& bundle, const Options& options) {
  const Judge judge{bundle.tolerance(), options.deviations};
  std::vector<Result> results;
  const std::vector<Case> cases = cases_of(bundle);
  check_no_strays(bundle, cases);
  for (const Case& c : cases) {
    if (is_data(bundle, c) || !wanted(bundle.name() + "/" + c.name, options.filter)) continue;
    results.push_back(judge({bundle.name(), c.name, c.op}, c.op, c.args, [&](Comparison& comparison) {
      run_case(bundle, c, comparison);
      if (comparison.passed()) check_all_taken(bundle, c.name + ".");
    }));
  }
  return results;
}

// Calls that must fail with an error.
std::vector<Result> run_refusals(Bundle& bundle, const Options& options) {
  std::vector<Result> results;
  const Ops patterns = pattern_ops();
  int number = 0;
  for (const Json& call : bundle.json("refused", Json::array())) {
    const std::string name = fmt::format("refused_{:02}", ++number);
    if (!wanted(bundle.name() + "/" + name, options.filter)) continue;
    Result r{bundle.name(), name, call.value("op", "")};
    try {
      run_refused(call, patterns);
      r.status = Status::passed;
    } catch (const std::exception& e) {
      r.reason = e.what();
    }
    results.push_back(r);
  }
  return results;
}

// A layer file as the table of deviations sees it: its config, its variant and the shapes of its inputs.
Json about_layer(const Bundle& bundle) {
  Json about = bundle.json("config", Json::object());
  about["variant"] = variant_of(bundle);
  for (const std::string& input : bundle.names("in.")) {
    const Shape shape = bundle.shape(input);
    about[input] = std::vector<i64>(shape.begin(), shape.end());
  }
  return about;
}

std::vector<Result> run_layer_file(Bundle& bundle, const Options& options) {
  if (!wanted(bundle.name(), options.filter)) return {};
  const Judge judge{bundle.tolerance(), options.deviations};
  const std::string subject = class_of(bundle);
  return {judge({bundle.name(), bundle.name(), subject}, subject, about_layer(bundle), [&](Comparison& comparison) {
    run_layer(bundle, layers(), comparison);
    if (comparison.passed()) check_all_taken(bundle, "");
  })};
}

}  // namespace

std::vector<Result> run_file(const std::string& path, const Options& options) {
  Result broken{fs::path(path).stem().string(), "", ""};
  try {
    Bundle bundle(path);
    if (bundle.text("cases").empty()) return run_layer_file(bundle, options);
    std::vector<Result> results = run_cases(bundle, options);
    for (Result& r : run_refusals(bundle, options)) results.push_back(std::move(r));
    return results;
  } catch (const std::exception& e) {
    broken.reason = e.what();
    return {broken};
  }
}

// ---- a folder

namespace {

// Every .safetensors file of the folder, by name. Throws IoError: there is none.
std::vector<fs::path> files_of(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().extension() == ".safetensors") files.push_back(at->path());
  if (error) throw IoError(fmt::format("{}: the folder cannot be read: {}", folder, error.message()));
  if (files.empty()) throw IoError(fmt::format("{}: there is no .safetensors file in it", folder));
  std::sort(files.begin(), files.end());
  return files;
}

// The files that a filter names by the beginning of their names; all where it names none.
std::vector<fs::path> chosen(std::vector<fs::path> files, const std::string& filter) {
  std::vector<fs::path> named;
  for (const fs::path& f : files) {
    const std::string stem = f.stem().string();
    if (stem.starts_with(filter) || filter.starts_with(stem + "/")) named.push_back(f);
  }
  return named.empty() ? files : named;
}

const char* word(Status s) { return s == Status::passed ? "PASS" : s == Status::failed ? "FAIL" : "DEVIATES"; }

std::string line_of(const Result& r) {
  const std::string place = r.name.empty() || r.name == r.file ? r.file : r.file + "/" + r.name;
  return fmt::format("{:<8} {:<44} {:<24} e = {:.1e}{}{}", word(r.status), place, r.op, r.worst,
                     r.reason.empty() ? "" : "  ", r.reason);
}

struct Totals {
  int passed = 0, failed = 0, deviating = 0;
};

void write_report(const Options& options, const std::vector<Result>& results, const Totals& totals) {
  Json cases = Json::array();
  for (const Result& r : results)
    cases.push_back({{"file", r.file},
                     {"case", r.name},
                     {"op", r.op},
                     {"status", word(r.status)},
                     {"e", r.worst},
                     {"tensors", r.tensors},
                     {"reason", r.reason}});
  const Json report = {{"filter", options.filter},
                       {"passed", totals.passed},
                       {"failed", totals.failed},
                       {"deviating", totals.deviating},
                       {"cases", cases}};
  const std::string text = report.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  AtomicFile file(options.report);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace

int run_folder(const Options& options, std::ostream& out) {
  std::vector<Result> results;
  for (const fs::path& f : chosen(files_of(options.folder), options.filter))
    for (Result& r : run_file(f.string(), options)) {
      out << line_of(r) << "\n";
      results.push_back(std::move(r));
    }
  Totals totals;
  for (const Result& r : results)
    ++(r.status == Status::passed ? totals.passed : r.status == Status::failed ? totals.failed : totals.deviating);
  if (results.empty()) out << fmt::format("no case matches '{}'\n", options.filter);
  out << fmt::format("{} passed, {} failed, {} deviating\n", totals.passed, totals.failed, totals.deviating);
  if (!options.report.empty()) write_report(options, results, totals);
  return results.empty() || totals.failed > 0 ? 1 : 0;
}

}  // namespace moegrad::golden

// Compares moegrad with reference numbers: ops, optimizers, schedules and layers, values and gradients.
//
//   golden DIR [--filter TEXT] [--report FILE]
#include <CLI/CLI.hpp>
#include <iostream>

#include "tests/golden/run.h"

int main(int argc, char** argv) {
  moegrad::golden::Options options;
  CLI::App app("Compares moegrad with the reference numbers of a folder (tests/golden/data/README.md has the format)");
  app.add_option("DIR", options.folder, "folder with .safetensors files")->required();
  app.add_option("--filter", options.filter, "run cases whose FILE/CASE begins with TEXT or, if none, contains it")
      ->type_name("TEXT");
  app.add_option("--report", options.report, "also write the results as JSON")->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  try {
    return moegrad::golden::run_folder(options, std::cout);
  } catch (const std::exception& e) {
    std::cerr << "golden: " << e.what() << "\n";
    return 2;
  }
}

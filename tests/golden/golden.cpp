// Compares moegrad with reference numbers: ops, optimizers, schedules and layers, values and gradients.
//
//   golden DIR [--filter TEXT] [--report FILE] [--device cpu|cuda]
#include <CLI/CLI.hpp>
#include <iostream>

#include "core/device.h"
#include "tests/golden/run.h"

int main(int argc, char** argv) {
  moegrad::golden::Options options;
  std::string device = "cpu";
  CLI::App app("Compares moegrad with the reference numbers of a folder (tests/golden/data/README.md has the format)");
  app.add_option("DIR", options.folder, "folder with .safetensors files")->required();
  app.add_option("--filter", options.filter, "run cases whose FILE/CASE begins with TEXT or, if none, contains it")
      ->type_name("TEXT");
  app.add_option("--report", options.report, "also write the results as JSON")->type_name("FILE");
  app.add_option("--device", device, "where moegrad computes: cpu or cuda")->envname("MOEGRAD_DEVICE");
  CLI11_PARSE(app, argc, argv);
  try {
    moegrad::set_default_device(moegrad::device_named(device));
    return moegrad::golden::run_folder(options, std::cout);
  } catch (const std::exception& e) {
    std::cerr << "golden: " << e.what() << "\n";
    return 2;
  }
}

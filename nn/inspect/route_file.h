// The routes of a run: recorded with the layers that chose them, kept in a file, replayed elsewhere, compared.
//
//   RunRoutes routes;
//   { RecordRoutes here(routes);  model.forward(x, context); }   // on a GPU, say
//   save_routes("step_100.routes", routes);
//   RunRoutes again = load_routes("step_100.routes");            // in another process, on a CPU
//   { TapeScope here(again.tape, TapeMode::replay);  model.forward(x, context); }
//   fmt::print("{}", compare_routes(again, routes).text());
#pragma once
#include <string>
#include <vector>

#include "core/choose.h"
#include "core/device.h"
#include "core/observe.h"
#include "nn/inspect/figures.h"

namespace moegrad {

/// Choices in their order, and the layer of each; a list of layers that is shorter names none for the rest.
struct RunRoutes {
  RouteTape tape;
  std::vector<std::string> layers = {};

  std::string layer(std::size_t choice) const { return choice < layers.size() ? layers[choice] : std::string{}; }
};

/// Records every choice of this thread for a scope, behind those that `routes` has already.
class RecordRoutes : private Observer {
 public:
  /// margins  measures by how much each choice was decided, which takes longer
  explicit RecordRoutes(RunRoutes& routes, bool margins = false);
  RecordRoutes(const RecordRoutes&) = delete;
  RecordRoutes& operator=(const RecordRoutes&) = delete;

 private:
  void chose(const char* name, const Tensor& scores, const Tensor& indices) override;
  RunRoutes& routes_;
  TapeScope scope_;
};

/// Writes a safetensors file (nn/safetensors.h), wholly or not at all: the indices of choice i as tensor "i", margins,
/// names, layers and the shapes of the scores.
///   Errors  IoError: the file cannot be written
void save_routes(const std::string& path, const RunRoutes& routes);

/// Reads it back; indices to that device, where they can be replayed.
///   Errors  IoError: as load_safetensors; the file holds no routes, or contradicts itself
RunRoutes load_routes(const std::string& path, Device device = default_device());

/// How two runs chose at one place. A row is what was chosen at once: the K experts of a token, the C tokens of an
/// expert; where no axis was chosen along, a single element.
struct ChoiceDifference {
  std::string layer, name;  ///< those of the first run
  i64 rows = 0, different = 0;
  i64 first = -1;   ///< the first row that differs
  std::string why;  ///< what differs there, or why the two cannot be compared; empty if they agree
};

struct RouteDifference {
  std::vector<ChoiceDifference> choices;  ///< of both runs, as far as the shorter one goes
  i64 only_first = 0, only_second = 0;    ///< further choices of one run alone

  /// The place of the first choice that differs; -1 if the runs agree.
  i64 first() const;
  /// One line for the whole, where the first difference is, and a line per layer that differs.
  std::string text() const;
  /// One row per layer: choices, rows, rows that differ and their share, the first difference.
  Table table() const;
};

/// Compares place by place, and the order within a row as well. Choices of another name or from scores of another shape,
/// and indices of another shape, differ in all rows of the first run.
RouteDifference compare_routes(const RunRoutes& first, const RunRoutes& second);

}  // namespace moegrad

// Captured graphs: core/graph.h says what they are for.
#include "core/graph.h"

#include <cuda_runtime.h>

#include <utility>

#include "core/errors.h"
#include "cuda/cublas.h"
#include "cuda/pool.h"
#include "cuda/runtime.h"

namespace moegrad::cuda {

struct Captured {
  std::unique_ptr<Pool> pool = std::make_unique<Pool>();
  std::vector<PoolScope::Block> held;  // of other pools: the graph works on them
  cudaGraphExec_t executable = nullptr;
  i64 nodes = 0;

  Captured() = default;
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() {
    if (executable) {
      if (!capturing()) cudaStreamSynchronize(stream());  // a replay may be under way
      cudaGraphExecDestroy(executable);
    }
    give_back(held);
    retire(std::move(pool));
  }
};

namespace {

// The stream captures while this lives.
class Capture {
 public:
  explicit Capture(Captured& captured) : captured_(captured), scope_(*captured.pool) {
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "graph");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    if (!ended_ && end() != cudaSuccess) cudaGetLastError();  // whatever went wrong is on its way up
    if (graph_) cudaGraphDestroy(graph_);
    captured_.held = std::move(scope_.held);
  }
  void finish() {
    check(end(), "graph");
    std::size_t count = 0;
    check(cudaGraphGetNodes(graph_, nullptr, &count), "graph");
    check(cudaGraphInstantiate(&captured_.executable, graph_, 0), "graph");
    captured_.nodes = static_cast<i64>(count);
  }

 private:
  cudaError_t end() {
    ended_ = true;
    return cudaStreamEndCapture(stream(), &graph_);
  }
  Captured& captured_;
  PoolScope scope_;
  cudaGraph_t graph_ = nullptr;
  bool ended_ = false;
};

}  // namespace

std::shared_ptr<Captured> capture(const std::function<void()>& step) {
  if (capturing()) throw Error("graph: a graph cannot be captured while another one is");
  prepare_products();  // cuBLAS cannot be made ready in a capture
  release_cache();     // what steps before this one used: the graph needs as much again, of its own
  auto captured = std::make_shared<Captured>();
  Capture now(*captured);
  step();
  now.finish();
  return captured;
}

void replay(const Captured& captured) {
  if (capturing()) throw Error("graph: a graph cannot be replayed in a capture");
  check(cudaGraphLaunch(captured.executable, stream()), "graph");
}

i64 nodes(const Captured& captured) { return captured.nodes; }

}  // namespace moegrad::cuda

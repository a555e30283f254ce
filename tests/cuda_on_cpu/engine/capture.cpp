// Capture of streams into graphs, and the graphs.
#include "engine/capture.h"

#include <algorithm>
#include <set>

#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/sanitizers.h"

namespace cuda_on_cpu {
namespace {

std::vector<std::shared_ptr<Capture>> active;
std::vector<cudaStream_t> joined;  // streams that take part in a capture, but did not begin it
std::set<cudaGraph_t> graphs;
std::set<cudaGraphExec_t> execs;
unsigned long long captures_begun;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

bool refuses_unsafe_calls(const Capture& c) {
  if (c.mode == cudaStreamCaptureModeRelaxed || thread_mode == cudaStreamCaptureModeRelaxed) return false;
  if (c.thread == std::this_thread::get_id()) return true;
  return c.mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
}

cudaError_t end(Capture& capture) {
  bool unjoined = false;
  std::erase_if(joined, [&](cudaStream_t s) {
    if (s->capture.get() != &capture) return false;
    unjoined |= !s->joined;
    s->capture.reset();
    return true;
  });
  if (!capture.valid) return fail(cudaErrorStreamCaptureInvalidated, "the capture has failed before");
  if (unjoined) return fail(cudaErrorStreamCaptureUnjoined, "the origin does not wait for all streams of the capture");
  return cudaSuccess;
}

}  // namespace

Capture* any_capture() { return active.empty() ? nullptr : active.front().get(); }
Capture* capture_that_default_stream_waits_for() {
  for (const auto& c : active)
    if (!(c->origin->flags & cudaStreamNonBlocking)) return c.get();
  return nullptr;
}
void note_joined(cudaStream_t stream) { joined.push_back(stream); }

void record_node(cudaStream_t stream, cudaGraphNodeType type, Work work) {
  stream->capture->graph->nodes.push_back(std::make_shared<CUgraphNode_st>(CUgraphNode_st{type, std::move(work)}));
  stream->joined = false;
}

cudaError_t check_unsafe_call(const char* name) {
  if (const cudaError_t e = sticky()) return e;
  for (const auto& c : active)
    if (refuses_unsafe_calls(*c)) {
      c->valid = false;
      return fail(cudaErrorStreamCaptureUnsupported, std::string(name) + " while a stream captures");
    }
  return cudaSuccess;
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock;
  if (const cudaError_t e = sticky()) return e;
  if (!stream) return fail(cudaErrorStreamCaptureUnsupported, "the default stream cannot capture");
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle, "no such stream");
  if (captures(stream)) return fail(cudaErrorInvalidValue, "the stream captures already");
  stream->capture = std::make_shared<Capture>(Capture{++captures_begun, stream, mode, std::this_thread::get_id()});
  active.push_back(stream->capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock;
  *graph = nullptr;
  if (!stream || !is_stream(stream)) return fail(cudaErrorInvalidResourceHandle, "no such stream");
  if (!captures(stream)) return fail(cudaErrorInvalidValue, "the stream does not capture");
  if (stream->capture->origin != stream)
    return fail(cudaErrorStreamCaptureUnmatched, "another stream began the capture");
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
    return fail_capture(stream, cudaErrorStreamCaptureWrongThread, "another thread began the capture");
  stream->capture.reset();
  std::erase(active, capture);
  if (const cudaError_t e = end(*capture)) return e;
  *graph = capture->graph.release();
  graphs.insert(*graph);
  return cudaSuccess;
}

static cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  if (!captures(stream)) return cudaStreamCaptureStatusNone;
  return stream->capture->valid ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusInvalidated;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status);
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, std::size_t* count) {
  const Lock lock;
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle, "no such stream");
  if (!stream && capture_that_default_stream_waits_for())
    return fail(cudaErrorStreamCaptureImplicit, "the default stream waits for the stream that captures");
  *status = status_of(stream);
  if (id) *id = captures(stream) ? stream->capture->id : 0;
  if (graph) *graph = captures(stream) ? stream->capture->graph.get() : nullptr;
  if (dependencies) *dependencies = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock;
  if (const cudaError_t e = sticky()) return e;
  if (!graphs.contains(graph)) return fail(cudaErrorInvalidValue, "no such graph");
  *exec = new CUgraphExec_st{graph->nodes};
  execs.insert(*exec);
  return cudaSuccess;
}

static cudaError_t run_nodes(const std::vector<std::shared_ptr<CUgraphNode_st>>& nodes) {
  const memory::Access access;
  for (const auto& node : nodes)
    if (const cudaError_t e = node->work()) return e;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock;
  if (!execs.contains(exec)) return fail(cudaErrorInvalidValue, "no such executable graph");
  const auto& nodes = exec->nodes;
  return submit(
      stream, cudaGraphNodeTypeGraph, [&] { return run_nodes(nodes); },
      [&] { return [nodes] { return run_nodes(nodes); }; });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock;
  if (graphs.erase(graph) == 0) return fail(cudaErrorInvalidValue, "no such graph");
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock;
  if (execs.erase(exec) == 0) return fail(cudaErrorInvalidValue, "no such executable graph");
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  const Lock lock;
  if (!graphs.contains(graph)) return fail(cudaErrorInvalidValue, "no such graph");
  if (nodes)
    for (std::size_t i = 0; i < *count; ++i) nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
  if (!nodes || *count > graph->nodes.size()) *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = node->type;
  return cudaSuccess;
}

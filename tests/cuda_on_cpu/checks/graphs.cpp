// Streams, events, capture into graphs, and what a capture refuses.
#include <cublas_v2.h>

#include <thread>

#include "checks/check.h"

namespace {

__global__ void add_kernel(float* y, float v) { y[threadIdx.x] += v; }

struct Stream {
  cudaStream_t s = nullptr;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) { ok(cudaStreamCreateWithFlags(&s, flags)); }
  ~Stream() { CHECK(cudaStreamDestroy(s) == cudaSuccess); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};
struct Event {
  cudaEvent_t e = nullptr;
  Event() { ok(cudaEventCreate(&e)); }
  ~Event() { CHECK(cudaEventDestroy(e) == cudaSuccess); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
};

void begin(cudaStream_t s, cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
  ok(cudaStreamBeginCapture(s, mode));
}

// What f returns while s captures, which the capture does not survive.
template <class F>
cudaError_t refused(F f, unsigned flags = cudaStreamNonBlocking,
                    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
  const Stream stream(flags);
  begin(stream.s, mode);
  const cudaError_t e = f(stream.s);
  cudaStreamCaptureStatus status{};
  if (cudaStreamIsCapturing(stream.s, &status) == cudaSuccess) CHECK(status == cudaStreamCaptureStatusInvalidated);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream.s, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(graph == nullptr);
  cudaGetLastError();
  return e;
}

}  // namespace

TEST_CASE("a graph keeps launches, copies, fills and products, with their arguments, and replays them in order") {
  const Stream stream;
  Array<float> x({1, 2, 3, 4}), y(4), z(4);
  float* pinned = nullptr;
  ok(cudaMallocHost(&pinned, 16));
  cublasHandle_t blas = nullptr;
  REQUIRE(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasSetStream(blas, stream.s) == CUBLAS_STATUS_SUCCESS);
  float one = 1, zero = 0, v = 10;
  begin(stream.s);
  ok(start({.block = 4, .stream = stream.s}, add_kernel, x.p, v));
  v = 1e9f;  // the graph has a copy
  ok(cudaMemsetAsync(y.p, 0, 16, stream.s));
  ok(start({.block = 4, .stream = stream.s}, add_kernel, y.p, 1.f));
  // z [2, 2] = x y, column-major
  REQUIRE(cublasSgemmStridedBatched(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, x.p, 2, 0, y.p, 2, 0, &zero, z.p, 2,
                                    0, 1) == CUBLAS_STATUS_SUCCESS);
  one = zero = 77;
  ok(cudaMemcpyAsync(pinned, z.p, 16, cudaMemcpyDeviceToHost, stream.s));
  cudaGraph_t graph = nullptr, wrong = nullptr;
  cudaStreamCaptureStatus status{};
  unsigned long long id = 0;
  ok(cudaStreamGetCaptureInfo(stream.s, &status, &id, &graph));
  CHECK(status == cudaStreamCaptureStatusActive);
  CHECK(id > 0);
  ok(cudaStreamEndCapture(stream.s, &graph));
  ok(cudaStreamIsCapturing(stream.s, &status));
  CHECK(status == cudaStreamCaptureStatusNone);
  CHECK(x.host() == std::vector<float>{1, 2, 3, 4});  // nothing has run

  std::size_t count = 0;
  ok(cudaGraphGetNodes(graph, nullptr, &count));
  REQUIRE(count == 5);
  std::vector<cudaGraphNode_t> nodes(count);
  ok(cudaGraphGetNodes(graph, nodes.data(), &count));
  cudaGraphNodeType type{};
  ok(cudaGraphNodeGetType(nodes[1], &type));
  CHECK(type == cudaGraphNodeTypeMemset);

  cudaGraphExec_t exec = nullptr;
  ok(cudaGraphInstantiate(&exec, graph));
  ok(cudaGraphDestroy(graph));
  CHECK(cudaGraphInstantiate(&exec, wrong) == cudaErrorInvalidValue);
  for (float replay : {1.f, 2.f}) {
    ok(cudaGraphLaunch(exec, stream.s));
    ok(cudaStreamSynchronize(stream.s));
    CHECK(pinned[0] == 4 + 20 * replay);  // x[0] + x[2]
    CHECK(pinned[3] == 6 + 20 * replay);
  }
  ok(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphLaunch(exec, stream.s) == cudaErrorInvalidValue);
  cublasDestroy(blas);
  ok(cudaFreeHost(pinned));
  cudaGetLastError();
}

TEST_CASE("calls that wait, or that a global capture forbids, are refused and end the capture") {
  Array<float> x({1, 2});
  float host = 0;
  const Event event;
  const auto unsupported = cudaErrorStreamCaptureUnsupported;
  CHECK(refused([](cudaStream_t s) { return cudaStreamSynchronize(s); }) == unsupported);
  CHECK(refused([](cudaStream_t s) { return cudaStreamQuery(s); }) == unsupported);
  CHECK(refused([](cudaStream_t) { return cudaDeviceSynchronize(); }) == unsupported);
  CHECK(refused([&](cudaStream_t) { return cudaMemcpy(&host, x.p, 4, cudaMemcpyDeviceToHost); }) == unsupported);
  CHECK(refused([&](cudaStream_t) { return cudaMalloc(reinterpret_cast<void**>(&host), 4); }) == unsupported);
  CHECK(refused([&](cudaStream_t) { return cudaFree(nullptr); }) == unsupported);
  CHECK(refused([&](cudaStream_t s) { return cudaMemcpyAsync(&host, x.p, 4, cudaMemcpyDeviceToHost, s); }) ==
        unsupported);
  CHECK(refused([&](cudaStream_t s) { return cudaMemcpyAsync(x.p, &host, 4, cudaMemcpyHostToDevice, s); }) ==
        unsupported);
  CHECK(refused([&](cudaStream_t s) {
          return cudaEventRecord(event.e, s) ? cudaErrorUnknown : cudaEventQuery(event.e);
        }) == cudaErrorCapturedEvent);
  CHECK(refused([&](cudaStream_t s) { return cudaMallocAsync(reinterpret_cast<void**>(&host), 4, s); }) ==
        cudaErrorNotSupported);
  const auto in_default_stream = [&](cudaStream_t) { return start({.block = 2}, add_kernel, x.p, 1.f); };
  CHECK(refused(in_default_stream, cudaStreamDefault) == cudaErrorStreamCaptureImplicit);
  CHECK(refused([](cudaStream_t) { return cudaStreamSynchronize(nullptr); }, cudaStreamDefault) ==
        cudaErrorStreamCaptureImplicit);
  CHECK(x.host() == std::vector<float>{1, 2});
}

TEST_CASE("a capture lets pass what does not concern it") {
  Array<float> x({1, 2});
  const Stream stream, other;
  float* p = nullptr;
  cudaGraph_t graph = nullptr;
  begin(stream.s, cudaStreamCaptureModeRelaxed);
  ok(cudaMalloc(&p, 4));
  ok(cudaFree(p));
  ok(start({.block = 2, .stream = other.s}, add_kernel, x.p, 1.f));  // runs
  ok(start({.block = 2}, add_kernel, x.p, 1.f));                     // the stream is non-blocking: runs
  ok(cudaStreamSynchronize(other.s));
  ok(cudaStreamEndCapture(stream.s, &graph));
  ok(cudaGraphDestroy(graph));
  CHECK(x.host() == std::vector<float>{3, 4});

  begin(stream.s);
  auto mode = cudaStreamCaptureModeRelaxed;
  ok(cudaThreadExchangeStreamCaptureMode(&mode));
  CHECK(mode == cudaStreamCaptureModeGlobal);
  ok(cudaMalloc(&p, 4));
  ok(cudaThreadExchangeStreamCaptureMode(&mode));
  ok(cudaStreamEndCapture(stream.s, &graph));
  ok(cudaGraphDestroy(graph));
  ok(cudaFree(p));
}

TEST_CASE("captures are the business of the thread that began them, global ones of all") {
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    const Stream stream;
    begin(stream.s, mode);
    cudaError_t allocated{}, ended{};
    std::thread([&] {
      float* p = nullptr;
      allocated = cudaMalloc(&p, 4);
      if (p) cudaFree(p);
      cudaGraph_t graph = nullptr;
      ended = cudaStreamEndCapture(stream.s, &graph);
    }).join();
    CHECK((allocated == cudaSuccess) == (mode == cudaStreamCaptureModeThreadLocal));
    CHECK(ended == cudaErrorStreamCaptureWrongThread);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(stream.s, &graph) == cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
  }
}

TEST_CASE("an event takes the capture to another stream, and back") {
  Array<float> x({1, 2});
  const Stream a, b;
  const Event fork, join;
  for (const bool joins : {true, false}) {
    begin(a.s);
    ok(cudaEventRecord(fork.e, a.s));
    ok(cudaStreamWaitEvent(b.s, fork.e));
    ok(start({.block = 2, .stream = b.s}, add_kernel, x.p, 5.f));
    ok(cudaEventRecord(join.e, b.s));
    if (joins) ok(cudaStreamWaitEvent(a.s, join.e));
    cudaGraph_t graph = nullptr;
    const cudaError_t e = cudaStreamEndCapture(a.s, &graph);
    CHECK(e == (joins ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
    if (graph) ok(cudaGraphDestroy(graph));
    cudaGetLastError();
    ok(cudaStreamSynchronize(b.s));
  }
  CHECK(x.host() == std::vector<float>{1, 2});
}

TEST_CASE("a graph in a graph; wrong beginnings and ends") {
  Array<float> x({1, 2});
  const Stream stream;
  cudaGraph_t graph = nullptr, outer = nullptr;
  cudaGraphExec_t exec = nullptr;
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(stream.s, &graph) == cudaErrorInvalidValue);
  begin(stream.s);
  CHECK(cudaStreamBeginCapture(stream.s, cudaStreamCaptureModeGlobal) == cudaErrorInvalidValue);
  ok(start({.block = 2, .stream = stream.s}, add_kernel, x.p, 1.f));
  ok(cudaStreamEndCapture(stream.s, &graph));
  ok(cudaGraphInstantiate(&exec, graph));
  begin(stream.s);
  ok(cudaGraphLaunch(exec, stream.s));
  ok(cudaGraphLaunch(exec, stream.s));
  ok(cudaStreamEndCapture(stream.s, &outer));
  CHECK(x.host() == std::vector<float>{1, 2});
  cudaGraphExec_t both = nullptr;
  ok(cudaGraphInstantiate(&both, outer));
  ok(cudaGraphLaunch(both, stream.s));
  CHECK(x.host() == std::vector<float>{3, 4});
  for (auto* g : {graph, outer}) ok(cudaGraphDestroy(g));
  for (auto* e : {exec, both}) ok(cudaGraphExecDestroy(e));
  cudaGetLastError();
}

TEST_CASE("events measure time; streams that are gone are no streams") {
  const Event start_, end, never;
  ok(cudaEventRecord(start_.e));
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  ok(cudaEventRecord(end.e));
  ok(cudaEventSynchronize(end.e));
  float ms = 0;
  ok(cudaEventElapsedTime(&ms, start_.e, end.e));
  CHECK(ms >= 2);
  CHECK(cudaEventElapsedTime(&ms, start_.e, never.e) == cudaErrorInvalidResourceHandle);
  cudaStream_t gone = nullptr;
  ok(cudaStreamCreate(&gone));
  ok(cudaStreamDestroy(gone));
  CHECK(cudaStreamSynchronize(gone) == cudaErrorInvalidResourceHandle);
  Array<float> x({1, 2});
  CHECK(start({.block = 2, .stream = gone}, add_kernel, x.p, 1.f) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST_CASE("several threads of the host use the device") {
  Array<float> x(std::vector<float>(256));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const Stream stream;
      for (int k = 0; k < 50; ++k)
        CHECK(start({.block = 256, .stream = stream.s}, add_kernel, x.p, 1.f) == cudaSuccess);
      CHECK(cudaStreamSynchronize(stream.s) == cudaSuccess);
    });
  for (auto& t : threads) t.join();
  for (float v : x.host()) CHECK(v == 200);
}

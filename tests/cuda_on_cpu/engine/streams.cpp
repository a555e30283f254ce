#include "engine/streams.h"

#include <set>

#include "engine/capture.h"
#include "engine/errors.h"
#include "engine/memory.h"

namespace cuda_on_cpu {
namespace {

std::set<cudaStream_t> streams;
std::set<cudaEvent_t> events;

cudaError_t bad_stream() { return fail(cudaErrorInvalidResourceHandle, "no such stream"); }
cudaError_t bad_event() { return fail(cudaErrorInvalidResourceHandle, "no such event"); }

cudaError_t check_memory() {
  const auto damage = memory::take_damage();
  return damage.empty() ? cudaSuccess : fail_for_good(cudaErrorIllegalAddress, damage);
}

// Events of a capture cannot be waited for by the host.
cudaError_t check_event(cudaEvent_t event, const char* call) {
  if (const cudaError_t e = sticky()) return e;
  if (!events.contains(event)) return bad_event();
  const auto capture = event->capture.lock();
  if (!capture) return cudaSuccess;
  capture->valid = false;
  return fail(cudaErrorCapturedEvent, call);
}

}  // namespace

bool is_stream(cudaStream_t stream) { return !stream || streams.contains(stream); }
bool captures(cudaStream_t stream) { return stream && stream->capture; }

cudaError_t admit(cudaStream_t stream) {
  if (const cudaError_t e = sticky()) return e;
  if (!is_stream(stream)) return bad_stream();
  if (captures(stream)) return stream->capture->valid ? cudaSuccess : fail(cudaErrorStreamCaptureInvalidated);
  if (stream) return cudaSuccess;
  if (Capture* c = capture_that_default_stream_waits_for()) {
    c->valid = false;
    return fail(cudaErrorStreamCaptureImplicit, "work in the default stream, which waits for the stream that captures");
  }
  return cudaSuccess;
}

cudaError_t fail_capture(cudaStream_t stream, cudaError_t code, const std::string& details) {
  if (captures(stream)) stream->capture->valid = false;
  return fail(code, details);
}

cudaError_t check_waiting_call(const char* name, cudaStream_t stream) {
  if (const cudaError_t e = sticky()) return e;
  if (!is_stream(stream)) return bad_stream();
  if (captures(stream))
    return fail_capture(stream, cudaErrorStreamCaptureUnsupported, std::string(name) + " of a stream that captures");
  if (Capture* c = stream ? nullptr : capture_that_default_stream_waits_for()) {
    c->valid = false;
    return fail(cudaErrorStreamCaptureImplicit, std::string(name) + " while a stream captures");
  }
  return check_memory();
}

cudaError_t check_waiting_for_device(const char* name) {
  if (const cudaError_t e = sticky()) return e;
  if (Capture* c = any_capture()) {
    c->valid = false;
    return fail(cudaErrorStreamCaptureUnsupported, std::string(name) + " while a stream captures");
  }
  return check_memory();
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Lock lock;
  if (const cudaError_t e = sticky()) return e;
  if (flags > cudaStreamNonBlocking) return fail(cudaErrorInvalidValue, "flags of a stream");
  *stream = new CUstream_st{.flags = flags};
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock;
  if (!stream || !is_stream(stream)) return bad_stream();
  if (captures(stream)) return fail_capture(stream, cudaErrorStreamCaptureUnsupported, "cudaStreamDestroy");
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock;
  return check_waiting_call("cudaStreamSynchronize", stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock;
  return check_waiting_call("cudaStreamQuery", stream);
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock;
  return check_waiting_for_device("cudaDeviceSynchronize");
}

// A stream that waits for an event of a capture takes part in that capture from then on.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock;
  if (!events.contains(event)) return bad_event();
  if (const cudaError_t e = admit(stream)) return e;
  const auto capture = event->capture.lock();
  if (!capture) return cudaSuccess;
  if (!stream || (stream->capture && stream->capture != capture)) {
    capture->valid = false;
    return fail(cudaErrorStreamCaptureUnsupported, "a stream waits for an event of another one's capture");
  }
  if (stream == capture->origin) {
    event->stream->joined = true;
  } else if (!stream->capture) {
    stream->capture = capture;
    stream->joined = false;
    note_joined(stream);
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Lock lock;
  if (const cudaError_t e = sticky()) return e;
  *event = new CUevent_st{.flags = flags};
  events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock;
  if (events.erase(event) == 0) return bad_event();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock;
  if (!events.contains(event)) return bad_event();
  if (const cudaError_t e = admit(stream)) return e;
  event->recorded = true;
  event->stream = stream;
  event->capture.reset();
  if (captures(stream)) event->capture = stream->capture;
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock;
  if (const cudaError_t e = check_event(event, "cudaEventSynchronize")) return e;
  return check_memory();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock;
  return check_event(event, "cudaEventQuery");
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock;
  if (const cudaError_t e = check_event(start, "cudaEventElapsedTime")) return e;
  if (const cudaError_t e = check_event(end, "cudaEventElapsedTime")) return e;
  for (cudaEvent_t event : {start, end}) {
    if (!event->recorded) return fail(cudaErrorInvalidResourceHandle, "the event was not recorded");
    if (event->flags & cudaEventDisableTiming) return fail(cudaErrorInvalidResourceHandle, "the event has no timing");
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

#include "tests/cuda_emulator/cudart/capture.h"

#include <algorithm>
#include <set>
#include <utility>

#include "tests/cuda_emulator/cudart/api_call.h"

namespace cuda_emulator {

namespace {

thread_local cudaStreamCaptureMode thread_capture_mode = cudaStreamCaptureModeGlobal;

// Whether the mode in which a capture began forbids this thread's unsafe calls.
bool Forbids(const Capture& capture) {
  if (thread_capture_mode == cudaStreamCaptureModeRelaxed || capture.mode == cudaStreamCaptureModeRelaxed) return false;
  if (capture.thread == std::this_thread::get_id()) return true;
  return capture.mode == cudaStreamCaptureModeGlobal && thread_capture_mode == cudaStreamCaptureModeGlobal;
}

void AddNode(cudaStream_t stream, std::function<void()> run) {
  GraphNodes& nodes = stream->capture->nodes;
  nodes.push_back({.run = std::move(run), .after = stream->capture_tail});
  stream->capture_tail = {nodes.size() - 1};
}

// Every node must lead to the end of the stream in which the capture began.
bool AllJoined(const GraphNodes& nodes, const std::vector<size_t>& tail) {
  std::set<size_t> reached(tail.begin(), tail.end());
  std::vector<size_t> open(tail.begin(), tail.end());
  while (!open.empty()) {
    const size_t node = open.back();
    open.pop_back();
    for (const size_t before : nodes[node].after) {
      if (reached.insert(before).second) open.push_back(before);
    }
  }
  return reached.size() == nodes.size();
}

void LeaveCapture(const Capture& capture) {
  for (const auto& stream : Streams::Get().all()) {
    if (stream->capture.get() != &capture) continue;
    stream->capture.reset();
    stream->capture_tail.clear();
  }
}

cudaError_t BeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (!Streams::Get().Check(stream, "cudaStreamBeginCapture")) return cudaErrorInvalidResourceHandle;
  if (mode != cudaStreamCaptureModeGlobal && mode != cudaStreamCaptureModeThreadLocal &&
      mode != cudaStreamCaptureModeRelaxed) {
    return cudaErrorInvalidValue;
  }
  if (stream->capture != nullptr) return cudaErrorIllegalState;
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  return cudaSuccess;
}

cudaError_t EndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (graph == nullptr) return cudaErrorInvalidValue;
  *graph = nullptr;
  if (!Streams::Get().Check(stream, "cudaStreamEndCapture")) return cudaErrorInvalidResourceHandle;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return cudaErrorIllegalState;
  if (capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  const bool joined = AllJoined(capture->nodes, stream->capture_tail);
  LeaveCapture(*capture);
  capture->origin = nullptr;
  if (capture->invalidated) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;
  *graph = MakeGraph(std::move(capture->nodes));
  return cudaSuccess;
}

}  // namespace

cudaError_t Submit(cudaStream_t stream, std::function<void()> run) {
  if (stream->capture == nullptr) {
    Streams::Get().Enqueue(stream, std::move(run));
    return cudaSuccess;
  }
  if (stream->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
  AddNode(stream, std::move(run));
  return cudaSuccess;
}

cudaError_t CheckNoCapture() {
  for (const auto& stream : Streams::Get().all()) {
    if (stream->capture == nullptr || !Forbids(*stream->capture)) continue;
    stream->capture->invalidated = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

cudaError_t CheckNotCapturing(cudaStream_t stream) {
  if (stream->capture == nullptr) return cudaSuccess;
  stream->capture->invalidated = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t RecordEvent(cudaEvent_t event, cudaStream_t stream) {
  if (stream->capture != nullptr) {
    if (stream->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    event->capture = stream->capture;
    event->capture_nodes = stream->capture_tail;
    return cudaSuccess;
  }
  event->capture.reset();
  const uint64_t version = ++event->recorded;
  Streams::Get().Enqueue(stream, [event, version] { event->completed = std::max(event->completed, version); });
  return cudaSuccess;
}

cudaError_t WaitForEvent(cudaStream_t stream, cudaEvent_t event) {
  const bool captured = event->capture != nullptr;
  if (stream->capture != nullptr && event->capture != stream->capture) {
    stream->capture->invalidated = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (captured) {
    if (event->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    if (event->capture->origin == nullptr) return cudaErrorCapturedEvent;  // that capture has ended
    stream->capture = event->capture;
    for (const size_t node : event->capture_nodes) stream->capture_tail.push_back(node);
    return cudaSuccess;
  }
  if (event->recorded == 0) return cudaSuccess;
  const uint64_t version = event->recorded;
  Streams::Get().Enqueue(
      stream, [] {}, [event, version] { return event->completed >= version; });
  return cudaSuccess;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return ApiCall(__func__, [&] { return BeginCapture(stream, mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return ApiCall(__func__, [&] { return EndCapture(stream, graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return ApiCall(__func__, [&] {
    if (status == nullptr) return cudaErrorInvalidValue;
    if (!Streams::Get().Check(stream, "cudaStreamIsCapturing")) return cudaErrorInvalidResourceHandle;
    *status = stream->capture == nullptr     ? cudaStreamCaptureStatusNone
              : stream->capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                             : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return ApiCall(__func__, [&] {
    if (mode == nullptr) return cudaErrorInvalidValue;
    std::swap(*mode, thread_capture_mode);
    return cudaSuccess;
  });
}

}  // extern "C"

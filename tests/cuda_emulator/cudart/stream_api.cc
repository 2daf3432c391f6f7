// cudaStream*, cudaEvent* and cudaDeviceSynchronize.
#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/capture.h"
#include "tests/cuda_emulator/cudart/streams.h"

using namespace cuda_emulator;

namespace {

constexpr int kGreatestPriority = -5;

cudaError_t CreateStream(cudaStream_t* stream, unsigned flags, int priority) {
  if (stream == nullptr || (flags != cudaStreamDefault && flags != cudaStreamNonBlocking)) return cudaErrorInvalidValue;
  *stream =
      Streams::Get().Create(flags == cudaStreamDefault, flags, std::min(0, std::max(priority, kGreatestPriority)));
  return cudaSuccess;
}

// Runs `body` on a live stream.
template <class Body>
cudaError_t OnStream(const char* call, cudaStream_t stream, Body body) {
  return ApiCall(call, [&] { return Streams::Get().Check(stream, call) ? body() : cudaErrorInvalidResourceHandle; });
}

template <class Body>
cudaError_t OnEvent(const char* call, cudaEvent_t event, Body body) {
  return ApiCall(call, [&] { return Streams::Get().CheckEvent(event) ? body() : cudaErrorInvalidResourceHandle; });
}

bool IsDone(cudaEvent_t event) { return event->completed >= event->recorded; }

cudaError_t CreateEvent(cudaEvent_t* event, unsigned flags) {
  constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
  if (event == nullptr || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
  if ((flags & cudaEventInterprocess) != 0) return NotSupported("cudaEventCreateWithFlags", "cudaEventInterprocess");
  *event = Streams::Get().CreateEvent(flags);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return ApiCall(__func__, [&] { return CreateStream(stream, cudaStreamDefault, 0); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return ApiCall(__func__, [&] { return CreateStream(stream, flags, 0); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return ApiCall(__func__, [&] { return CreateStream(stream, flags, priority); });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return ApiCall(__func__, [&] {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = kGreatestPriority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return OnStream(__func__, stream, [&] {
    *flags = stream->flags;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return OnStream(__func__, stream, [&] {
    *priority = stream->priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return OnStream(__func__, stream, [&] {
    if (stream->capture != nullptr) stream->capture->invalidated = true;
    Streams::Get().Destroy(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return OnStream(__func__, stream, [&] {
    const cudaError_t error = CheckNotCapturing(stream);
    if (error == cudaSuccess) Streams::Get().Drain(stream);
    return error;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return OnStream(__func__, stream, [&] {
    if (const cudaError_t error = CheckNotCapturing(stream); error != cudaSuccess) return error;
    if (!stream->queue.empty()) Streams::Get().Progress();
    return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return OnStream(__func__, stream, [&] {
    if (!Streams::Get().CheckEvent(event)) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) return NotSupported("cudaStreamWaitEvent", "flags");
    return WaitForEvent(stream, event);
  });
}

cudaError_t cudaDeviceSynchronize() {
  return ApiCall(__func__, [] {
    const cudaError_t error = CheckNoCapture();
    if (error == cudaSuccess) Streams::Get().DrainAll();
    return error;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return ApiCall(__func__, [&] { return CreateEvent(event, cudaEventDefault); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return ApiCall(__func__, [&] { return CreateEvent(event, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return OnEvent(__func__, event, [&] {
    Streams::Get().DestroyEvent(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return OnStream(__func__, stream, [&] {
    return Streams::Get().CheckEvent(event) ? RecordEvent(event, stream) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return OnEvent(__func__, event, [&] {
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    Streams::Get().RunUntil([&] { return IsDone(event); });
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return OnEvent(__func__, event, [&] {
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    if (!IsDone(event)) Streams::Get().Progress();
    return IsDone(event) ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float*, cudaEvent_t start, cudaEvent_t end) {
  return OnEvent(__func__, start, [&] {
    const bool timed = Streams::Get().CheckEvent(end) && ((start->flags | end->flags) & cudaEventDisableTiming) == 0;
    return timed ? NotSupported("cudaEventElapsedTime", "time") : cudaErrorInvalidResourceHandle;
  });
}

}  // extern "C"

// Copies and memsets. They run when their stream does: a pinned source is read then, a pageable one at the call.
#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/capture.h"
#include "tests/cuda_emulator/cudart/host_memory.h"
#include "tests/cuda_emulator/cudart/registration.h"
#include "tests/cuda_emulator/cudart/streams.h"
#include "tests/cuda_emulator/runtime/host_api.h"

using namespace cuda_emulator;

namespace {

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  MemoryKind to_kind, from_kind;
};

// Ends the run where a range is not, or is no longer, one live allocation's.
void CheckRange(const char* call, const char* side, MemoryKind kind, const void* address, size_t bytes) {
  if (kind == MemoryKind::kPageable) return;
  const bool device = kind == MemoryKind::kDevice;
  if (device ? IsDeviceRange(address, bytes) : IsPinnedRange(address, bytes)) return;
  Fail(CUDA_EMULATOR_HERE, IsDeviceRange(address, 1) || IsPinnedRange(address, 1) ? "out-of-bounds" : "freed",
       "%s: the %s of %zu bytes at %p is not inside one live allocation of %s memory", call, side, bytes, address,
       device ? "device" : "pinned");
}

void CheckRanges(const char* call, const Copy& copy) {
  CheckRange(call, "destination", copy.to_kind, copy.to, copy.bytes);
  CheckRange(call, "source", copy.from_kind, copy.from, copy.bytes);
}

void RunCopy(const char* call, const Copy& copy) {
  CheckRanges(call, copy);
  std::memmove(copy.to, copy.from, copy.bytes);
  if (copy.to_kind != MemoryKind::kDevice) return;
  if (copy.from_kind == MemoryKind::kDevice) {
    CopyShadow(copy.to, copy.from, copy.bytes);
  } else {
    MarkInitialised(copy.to, copy.bytes);
  }
}

bool FitsKind(const Copy& copy, cudaMemcpyKind kind) {
  const bool to_device = copy.to_kind == MemoryKind::kDevice, from_device = copy.from_kind == MemoryKind::kDevice;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    default:
      return kind == cudaMemcpyDefault;
  }
}

Copy Describe(void* to, const void* from, size_t bytes) { return {to, from, bytes, KindOf(to), KindOf(from)}; }

cudaError_t SubmitCopy(const char* call, const Copy& copy, cudaStream_t stream) {
  CheckRanges(call, copy);
  const bool from_pageable = copy.from_kind == MemoryKind::kPageable;
  if (stream->capture != nullptr && (from_pageable || copy.to_kind == MemoryKind::kPageable)) {
    stream->capture->invalidated = true;
    return NotSupported(call, "pageable memory in a stream that is being captured");
  }
  if (!from_pageable) return Submit(stream, [call, copy] { RunCopy(call, copy); });
  const auto* bytes = static_cast<const std::byte*>(copy.from);
  auto staged = std::make_shared<std::vector<std::byte>>(bytes, bytes + copy.bytes);
  return Submit(stream, [call, copy, staged] {
    Copy from_stage = copy;
    from_stage.from = staged->data();
    RunCopy(call, from_stage);
  });
}

cudaError_t CopyAsync(const char* call, const Copy& copy, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!FitsKind(copy, kind)) return cudaErrorInvalidMemcpyDirection;
  const bool between_hosts = copy.to_kind != MemoryKind::kDevice && copy.from_kind != MemoryKind::kDevice;
  const cudaError_t error = SubmitCopy(call, copy, stream);
  // Between hosts the copy is synchronous.
  if (error == cudaSuccess && between_hosts && stream->capture == nullptr) Streams::Get().Drain(stream);
  return error;
}

// The legacy stream may not be used while a blocking stream is captured, and synchronous calls not at all.
cudaError_t CheckLegacyStream() {
  for (const auto& stream : Streams::Get().all()) {
    if (stream->capture == nullptr || !stream->blocking) continue;
    stream->capture->invalidated = true;
    return cudaErrorStreamCaptureImplicit;
  }
  return CheckNoCapture();
}

cudaError_t CopyNow(const char* call, const Copy& copy, cudaMemcpyKind kind) {
  if (const cudaError_t error = CheckLegacyStream(); error != cudaSuccess) return error;
  if (copy.bytes == 0) return cudaSuccess;
  if (!FitsKind(copy, kind)) return cudaErrorInvalidMemcpyDirection;
  Streams& streams = Streams::Get();
  const cudaError_t error = SubmitCopy(call, copy, streams.legacy());
  if (error == cudaSuccess) streams.Drain(streams.legacy());
  return error;
}

cudaError_t SubmitMemset(const char* call, void* address, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (KindOf(address) != MemoryKind::kDevice) return cudaErrorInvalidValue;
  auto check = [=] { CheckRange(call, "range", MemoryKind::kDevice, address, bytes); };
  check();
  return Submit(stream, [=] {
    check();
    std::memset(address, value, bytes);
    MarkInitialised(address, bytes);
  });
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return ApiCall(__func__, [&] { return CopyNow("cudaMemcpy", Describe(to, from, bytes), kind); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return ApiCall(__func__, [&] {
    if (!Streams::Get().Check(stream, "cudaMemcpyAsync")) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    return CopyAsync("cudaMemcpyAsync", Describe(to, from, bytes), kind, stream);
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes, size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return ApiCall(__func__, [&] {
    if (!Streams::Get().Check(stream, "cudaMemcpyToSymbolAsync")) return cudaErrorInvalidResourceHandle;
    const Variable* variable = VariableOf(symbol);
    if (variable == nullptr) return cudaErrorInvalidSymbol;
    if (offset > variable->bytes || bytes > variable->bytes - offset) return cudaErrorInvalidValue;
    auto* to = static_cast<std::byte*>(variable->address) + offset;
    return CopyAsync("cudaMemcpyToSymbolAsync", Describe(to, from, bytes), kind, stream);
  });
}

cudaError_t cudaMemset(void* address, int value, size_t bytes) {
  return ApiCall(__func__, [&] {
    if (const cudaError_t error = CheckLegacyStream(); error != cudaSuccess) return error;
    return SubmitMemset("cudaMemset", address, value, bytes, Streams::Get().legacy());
  });
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
  return ApiCall(__func__, [&] {
    if (!Streams::Get().Check(stream, "cudaMemsetAsync")) return cudaErrorInvalidResourceHandle;
    return SubmitMemset("cudaMemsetAsync", address, value, bytes, stream);
  });
}

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return ApiCall(__func__, [&] {
    const Variable* variable = VariableOf(symbol);
    if (variable == nullptr) return cudaErrorInvalidSymbol;
    *address = variable->address;
    return cudaSuccess;
  });
}

}  // extern "C"

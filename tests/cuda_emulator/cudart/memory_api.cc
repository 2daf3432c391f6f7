// Allocation: cudaMalloc, cudaMallocHost and what tells about them.
#include <cstring>

#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/capture.h"
#include "tests/cuda_emulator/cudart/host_memory.h"
#include "tests/cuda_emulator/cudart/streams.h"
#include "tests/cuda_emulator/runtime/host_api.h"

using namespace cuda_emulator;

namespace {

template <class Allocate>
cudaError_t AllocateWith(Allocate allocate, void** address, size_t bytes) {
  if (address == nullptr) return cudaErrorInvalidValue;
  if (const cudaError_t error = CheckNoCapture(); error != cudaSuccess) return error;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  *address = allocate(bytes);
  return *address == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

// Waits for everything queued, as both kinds of free do.
cudaError_t FreeDeviceMemory(void* address) {
  if (address == nullptr) return cudaSuccess;
  if (const cudaError_t error = CheckNoCapture(); error != cudaSuccess) return error;
  if (!IsAllocation(address)) return cudaErrorInvalidValue;
  Streams::Get().DrainAll();
  FreeDevice(address);
  return cudaSuccess;
}

cudaError_t FreeHostMemory(void* address) {
  if (address == nullptr) return cudaSuccess;
  if (const cudaError_t error = CheckNoCapture(); error != cudaSuccess) return error;
  Streams::Get().DrainAll();
  return FreePinned(address) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t DescribePointer(cudaPointerAttributes* attributes, const void* address) {
  if (attributes == nullptr) return cudaErrorInvalidValue;
  *attributes = {};
  attributes->type = cudaMemoryTypeUnregistered;
  attributes->device = -2;  // what CUDA says of memory it doesn't know
  const MemoryKind kind = KindOf(address);
  if (kind == MemoryKind::kPageable) return cudaSuccess;
  attributes->device = 0;
  attributes->devicePointer = const_cast<void*>(address);
  if (kind == MemoryKind::kDevice) {
    if (!IsDeviceRange(address, 1)) return cudaErrorInvalidValue;
    attributes->type = cudaMemoryTypeDevice;
    return cudaSuccess;
  }
  attributes->type = cudaMemoryTypeHost;
  attributes->hostPointer = const_cast<void*>(address);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) {
  return ApiCall(__func__, [&] { return AllocateWith(AllocateDevice, address, bytes); });
}

cudaError_t cudaFree(void* address) {
  return ApiCall(__func__, [&] { return FreeDeviceMemory(address); });
}

cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return ApiCall(__func__, [&] { return AllocateWith(AllocatePinned, address, bytes); });
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned flags) {
  return ApiCall(__func__, [&] {
    constexpr unsigned kKnown = cudaHostAllocPortable | cudaHostAllocWriteCombined;
    if ((flags & ~kKnown) != 0) return NotSupported("cudaHostAlloc", "mapped memory");
    return AllocateWith(AllocatePinned, address, bytes);
  });
}

cudaError_t cudaFreeHost(void* address) {
  return ApiCall(__func__, [&] { return FreeHostMemory(address); });
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return ApiCall(__func__, [&] {
    if (free_bytes == nullptr || total_bytes == nullptr) return cudaErrorInvalidValue;
    *free_bytes = DeviceBytesFree();
    *total_bytes = DeviceBytesTotal();
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return ApiCall(__func__, [&] { return DescribePointer(attributes, address); });
}

}  // extern "C"

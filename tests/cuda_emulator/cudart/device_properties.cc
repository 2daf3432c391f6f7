// The one device: a Hopper in what kernels may rely on, with the emulator's name and memory.
#include <algorithm>
#include <cstring>

#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/registration.h"

using namespace cuda_emulator;

namespace {

constexpr char kName[] = "CUDA emulator";
constexpr int kVersion = CUDART_VERSION;

void FillLimits(cudaDeviceProp* properties) {
  properties->sharedMemPerBlock = kSharedBytesByDefault;
  properties->sharedMemPerBlockOptin = kSharedBytesPerBlock;
  properties->sharedMemPerMultiprocessor = kSharedBytesPerProcessor;
  properties->reservedSharedMemPerBlock = kSharedBytesOfRuntime;
  properties->regsPerBlock = 65536;
  properties->regsPerMultiprocessor = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = kThreadsPerProcessor;
  properties->maxBlocksPerMultiProcessor = kBlocksPerProcessor;
  const int block[] = {1024, 1024, 64}, grid[] = {0x7FFFFFFF, 65535, 65535};
  std::copy_n(block, 3, properties->maxThreadsDim);
  std::copy_n(grid, 3, properties->maxGridSize);
  properties->totalConstMem = 65536;
}

cudaError_t FillProperties(cudaDeviceProp* properties) {
  *properties = {};
  std::strcpy(properties->name, kName);
  properties->totalGlobalMem = DeviceBytesTotal();
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = kProcessors;
  properties->l2CacheSize = 50 << 20;
  properties->persistingL2CacheMaxSize = 32 << 20;
  properties->memoryBusWidth = 5120;
  properties->concurrentKernels = 1;
  properties->asyncEngineCount = 3;
  properties->unifiedAddressing = 1;
  properties->streamPrioritiesSupported = 1;
  properties->textureAlignment = 512;
  FillLimits(properties);
  return cudaSuccess;
}

cudaError_t GetAttribute(int* value, cudaDeviceAttr attribute) {
  cudaDeviceProp properties;
  FillProperties(&properties);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return *value = properties.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = properties.minor, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = properties.multiProcessorCount, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = static_cast<int>(properties.sharedMemPerBlock), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(properties.sharedMemPerBlockOptin), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = static_cast<int>(properties.sharedMemPerMultiprocessor), cudaSuccess;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return *value = static_cast<int>(properties.reservedSharedMemPerBlock), cudaSuccess;
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = properties.maxThreadsPerBlock, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = properties.maxThreadsPerMultiProcessor, cudaSuccess;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return *value = properties.maxBlocksPerMultiProcessor, cudaSuccess;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return *value = properties.regsPerBlock, cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = properties.warpSize, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = properties.l2CacheSize, cudaSuccess;
    case cudaDevAttrUnifiedAddressing:
      return *value = 1, cudaSuccess;
    default:
      return NotSupported("cudaDeviceGetAttribute", "this attribute");
  }
}

template <class Body>
cudaError_t OnDevice(const char* call, int device, Body body) {
  return ApiCall(call, [&] { return device == 0 ? body() : cudaErrorInvalidDevice; });
}

template <class Value>
cudaError_t Give(const char* call, Value* place, Value value) {
  return ApiCall(call, [&] {
    if (place == nullptr) return cudaErrorInvalidValue;
    *place = value;
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return Give(__func__, count, 1); }
cudaError_t cudaGetDevice(int* device) { return Give(__func__, device, 0); }
cudaError_t cudaDriverGetVersion(int* version) { return Give(__func__, version, kVersion); }
cudaError_t cudaRuntimeGetVersion(int* version) { return Give(__func__, version, kVersion); }

cudaError_t cudaSetDevice(int device) {
  return OnDevice(__func__, device, [] { return cudaSuccess; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return OnDevice(__func__, device, [&] { return FillProperties(properties); });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return OnDevice(__func__, device, [&] { return GetAttribute(value, attribute); });
}

}  // extern "C"

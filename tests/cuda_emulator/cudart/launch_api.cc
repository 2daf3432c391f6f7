// Launches of kernels, within Hopper's limits, and what can be asked about and set on kernels.
#include <cstring>
#include <vector>

#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/capture.h"
#include "tests/cuda_emulator/cudart/registration.h"
#include "tests/cuda_emulator/cudart/streams.h"

using namespace cuda_emulator;

namespace {

constexpr uint64_t kMaxThreads = 1024;
constexpr uint32_t kMaxBlockDepth = 64;
constexpr uint32_t kMaxGridWidth = 0x7FFFFFFF;
constexpr uint32_t kMaxGridHeight = 65535;

struct Launch {
  dim3 grid, block;
  void** arguments;
  size_t shared_bytes;
  cudaStream_t stream;
};

uint32_t MaxThreads(const Kernel& kernel) { return kernel.max_threads == 0 ? kMaxThreads : kernel.max_threads; }

uint32_t MaxDynamicSharedBytes(const Function& function, const Kernel& kernel) {
  if (function.max_dynamic_shared_bytes != 0) return function.max_dynamic_shared_bytes;
  return kSharedBytesByDefault - std::min(kSharedBytesByDefault, kernel.static_shared_bytes);
}

cudaError_t CheckLimits(const Function& function, const Kernel& kernel, const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > kMaxBlockDepth) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > kMaxGridWidth || grid.y > kMaxGridHeight ||
      grid.z > kMaxGridHeight) {
    return cudaErrorInvalidConfiguration;
  }
  if (threads > MaxThreads(kernel)) return cudaErrorInvalidValue;  // __launch_bounds__
  if (launch.shared_bytes > MaxDynamicSharedBytes(function, kernel)) return cudaErrorInvalidValue;
  return cudaSuccess;
}

Dim3 ToDim3(const dim3& size) { return {size.x, size.y, size.z}; }

cudaError_t SubmitLaunch(const void* host_function, const Launch& launch) {
  const Function* function = FunctionOf(host_function);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  const Kernel& kernel = KernelOf(*function);
  if (!Streams::Get().Check(launch.stream, function->name.c_str())) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t error = CheckLimits(*function, kernel, launch); error != cudaSuccess) return error;
  std::vector<std::byte> parameters(kernel.parameter_bytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(parameters.data() + kernel.parameters[i].offset, launch.arguments[i], kernel.parameters[i].bytes);
  }
  return Submit(launch.stream, [&kernel, launch, parameters = std::move(parameters)] {
    const cudaError_t injected = InjectedError("kernel");
    if (injected != cudaSuccess) FailContext(injected);
    if (ContextError() != cudaSuccess) return;
    RunGrid(kernel, ToDim3(launch.grid), ToDim3(launch.block), static_cast<uint32_t>(launch.shared_bytes),
            parameters.data());
  });
}

cudaError_t SetAttribute(const void* host_function, cudaFuncAttribute attribute, int value) {
  Function* function = FunctionOf(host_function);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
    return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
  }
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    return NotSupported("cudaFuncSetAttribute", "this attribute");
  }
  const int64_t limit = int64_t{kSharedBytesPerBlock} - KernelOf(*function).static_shared_bytes;
  if (value < 0 || value > limit) return cudaErrorInvalidValue;
  function->max_dynamic_shared_bytes = static_cast<uint32_t>(value);
  return cudaSuccess;
}

// Registers and local memory are ptxas' choice, which nothing here knows: they are left 0.
cudaError_t GetAttributes(cudaFuncAttributes* attributes, const void* host_function) {
  const Function* function = FunctionOf(host_function);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  const Kernel& kernel = KernelOf(*function);
  *attributes = {};
  attributes->sharedSizeBytes = kernel.static_shared_bytes;
  attributes->maxThreadsPerBlock = static_cast<int>(MaxThreads(kernel));
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(MaxDynamicSharedBytes(*function, kernel));
  attributes->ptxVersion = 90;
  attributes->binaryVersion = 90;
  attributes->preferredShmemCarveout = -1;
  return cudaSuccess;
}

// By threads and shared memory; what registers would allow is not known here.
cudaError_t Occupancy(int* blocks, const void* host_function, int block_size, size_t dynamic_shared_bytes) {
  const Function* function = FunctionOf(host_function);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  const Kernel& kernel = KernelOf(*function);
  if (block_size < 1) return cudaErrorInvalidValue;
  const auto threads = static_cast<uint32_t>(block_size);
  *blocks = 0;
  if (threads > MaxThreads(kernel) || dynamic_shared_bytes > MaxDynamicSharedBytes(*function, kernel)) {
    return cudaSuccess;
  }
  const auto shared = kernel.static_shared_bytes + static_cast<uint32_t>(dynamic_shared_bytes) + kSharedBytesOfRuntime;
  const uint32_t by_threads = kThreadsPerProcessor / ((threads + 31) / 32 * 32);
  *blocks = static_cast<int>(std::min({by_threads, kSharedBytesPerProcessor / shared, kBlocksPerProcessor}));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t stream) {
  return ApiCall(__func__, [&] { return SubmitLaunch(function, {grid, block, arguments, shared_bytes, stream}); });
}

// What nvcc makes of <<<>>>.
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                               cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return ApiCall(__func__, [&] {
    if (config == nullptr) return cudaErrorInvalidValue;
    if (config->numAttrs != 0) return NotSupported("cudaLaunchKernelExC", "attributes");
    return SubmitLaunch(function,
                        {config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream});
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return ApiCall(__func__, [&] { return SetAttribute(function, attribute, value); });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return ApiCall(__func__, [&] { return GetAttributes(attributes, function); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int block_size,
                                                          size_t dynamic_shared_bytes) {
  return ApiCall(__func__, [&] { return Occupancy(blocks, function, block_size, dynamic_shared_bytes); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int block_size,
                                                                   size_t dynamic_shared_bytes, unsigned) {
  return ApiCall(__func__, [&] { return Occupancy(blocks, function, block_size, dynamic_shared_bytes); });
}

}  // extern "C"

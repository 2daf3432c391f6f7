#include "tests/cuda_emulator/cudart/registration.h"

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/cuda_emulator/cudart/api_call.h"

namespace cuda_emulator {
namespace {

struct Registered {
  std::map<const void*, std::unique_ptr<Function>> functions;  // by the host's stub
  std::map<const void*, std::string> variables;
};

Registered& TheRegistered() {
  static auto* registered = new Registered;
  return *registered;
}

struct CallConfiguration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};

thread_local std::vector<CallConfiguration> call_configurations;

}  // namespace

Function* FunctionOf(const void* host_function_or_kernel) {
  const auto& functions = TheRegistered().functions;
  const auto found = functions.find(host_function_or_kernel);
  if (found != functions.end()) return found->second.get();
  for (const auto& [stub, function] : functions) {
    if (function.get() == host_function_or_kernel) return function.get();
  }
  return nullptr;
}

const Variable* VariableOf(const void* host_variable) {
  const auto found = TheRegistered().variables.find(host_variable);
  if (found == TheRegistered().variables.end()) return nullptr;
  const Variable* variable = FindVariable(found->second.c_str());
  if (variable == nullptr) {
    Fail(CUDA_EMULATOR_HERE, "host", "no module of CUDA_EMULATOR_KERNELS has the variable %s", found->second.c_str());
  }
  return variable;
}

const Kernel& KernelOf(const Function& function) {
  const Kernel* kernel = FindKernel(function.name.c_str());
  if (kernel == nullptr) {
    Fail(CUDA_EMULATOR_HERE, "host", "no module of CUDA_EMULATOR_KERNELS has the kernel %s", function.name.c_str());
  }
  return *kernel;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  const std::lock_guard lock(ApiMutex());
  TheRegistered().functions[stub] = std::make_unique<Function>(Function{.name = name});
}

void __cudaRegisterVar(void**, char* host_variable, char*, const char* name, int, size_t, int, int) {
  const std::lock_guard lock(ApiMutex());
  TheRegistered().variables[host_variable] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, CUstream_st* stream) {
  call_configurations.push_back({grid, block, shared_bytes, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes, void* stream) {
  if (call_configurations.empty()) return cudaErrorMissingConfiguration;
  const CallConfiguration& last = call_configurations.back();
  *grid = last.grid;
  *block = last.block;
  *shared_bytes = last.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  call_configurations.pop_back();
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  const std::lock_guard lock(ApiMutex());
  Function* function = FunctionOf(stub);
  *kernel = reinterpret_cast<cudaKernel_t>(function);
  return function == nullptr ? cudaErrorInvalidDeviceFunction : cudaSuccess;
}

}  // extern "C"

#include "tests/cuda_emulator/cudart/api_call.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tests/cuda_emulator/runtime/host_api.h"

namespace cuda_emulator {
namespace {

struct Injection {
  int nth = 0;
  cudaError_t error = cudaSuccess;
};

struct Injections {
  std::map<std::string, Injection> planned;
  std::map<std::string, int> calls;
};

cudaError_t UsualError(const std::string& call) {
  if (call == "cudaMalloc" || call == "cudaMallocHost" || call == "cudaHostAlloc") return cudaErrorMemoryAllocation;
  if (call == "cudaGetDeviceCount") return cudaErrorInsufficientDriver;
  if (call == "cudaLaunchKernel") return cudaErrorLaunchOutOfResources;
  if (call == "kernel") return cudaErrorIllegalAddress;
  return cudaErrorUnknown;
}

Injections ReadInjections() {
  Injections injections;
  const char* text = std::getenv("CUDA_EMULATOR_FAIL");
  std::istringstream entries(text == nullptr ? "" : text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    std::istringstream fields(entry);
    std::string call, nth, code;
    std::getline(fields, call, ':');
    std::getline(fields, nth, ':');
    std::getline(fields, code, ':');
    const int number = std::atoi(nth.c_str());
    if (number < 1) {
      Fail(CUDA_EMULATOR_HERE, "host", "CUDA_EMULATOR_FAIL: expected CALL:NTH or CALL:NTH:ERROR, found %s",
           entry.c_str());
    }
    const cudaError_t error = code.empty() ? UsualError(call) : static_cast<cudaError_t>(std::atoi(code.c_str()));
    injections.planned[call] = {number, error};
  }
  return injections;
}

cudaError_t context_error = cudaSuccess;
thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

void FailContext(cudaError_t error) {
  if (context_error == cudaSuccess) context_error = error;
}

cudaError_t NotSupported(const char* call, const char* what) {
  static auto* said = new std::set<std::string>;
  if (said->insert(std::string(call) + what).second) {
    std::fprintf(stderr, "cuda emulator: not supported: %s: %s\n", call, what);
  }
  return cudaErrorNotSupported;
}

cudaError_t InjectedError(const char* call) {
  static auto* injections = new Injections(ReadInjections());
  const auto planned = injections->planned.find(call);
  if (planned == injections->planned.end()) return cudaSuccess;
  return ++injections->calls[call] == planned->second.nth ? planned->second.error : cudaSuccess;
}

std::mutex& ApiMutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

cudaError_t ContextError() { return context_error; }

cudaError_t RecordError(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace cuda_emulator

using cuda_emulator::last_error;

extern "C" {

cudaError_t cudaGetLastError() {
  const std::lock_guard lock(cuda_emulator::ApiMutex());
  const cudaError_t error = last_error;
  last_error = cuda_emulator::ContextError();
  return error == cudaSuccess ? cuda_emulator::ContextError() : error;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(cuda_emulator::ApiMutex());
  return last_error == cudaSuccess ? cuda_emulator::ContextError() : last_error;
}

}  // extern "C"

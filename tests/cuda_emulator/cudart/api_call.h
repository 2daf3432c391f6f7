// The gate of every call of the fake runtime: one mutex, injected errors, the last error. Any thread.
#pragma once

#include <mutex>

#include <cuda_runtime_api.h>

namespace cuda_emulator {

// Errors after which the context is of no use: every later call returns them.
bool IsSticky(cudaError_t error);
// Takes effect at the next call that could see it, as an asynchronous failure does.
void FailContext(cudaError_t error);

// One line on stderr, once per text: what the emulator doesn't do. Returns cudaErrorNotSupported.
cudaError_t NotSupported(const char* call, const char* what);

// CUDA_EMULATOR_FAIL=cudaMalloc:3,cudaGraphLaunch:1:700 makes the third cudaMalloc return its usual error and the first
// cudaGraphLaunch error 700. "kernel" counts kernels as they run. cudaSuccess: not this time.
cudaError_t InjectedError(const char* call);

std::mutex& ApiMutex();
cudaError_t ContextError();
cudaError_t RecordError(cudaError_t error);  // the thread's last one, unless it is success

template <class Body>
cudaError_t ApiCall(const char* name, Body body) {
  const std::lock_guard lock(ApiMutex());
  cudaError_t error = InjectedError(name);
  if (error == cudaSuccess) error = ContextError();
  if (error == cudaSuccess) error = body();
  if (IsSticky(error)) FailContext(error);
  if (error == cudaSuccess) error = ContextError();  // what the call waited for failed
  return RecordError(error);
}

}  // namespace cuda_emulator

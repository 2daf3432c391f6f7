// A backend is a Device and the Ops that run on it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd {

struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;  // after device: its weights and scratch memory return first
};

// num_threads counts the calling thread. 0 means as many as affinity and CPU quota grant, or as `pinning` names
// (base/placement.h).
absl::StatusOr<Backend> MakeCpuBackend(int num_threads, std::string_view pinning = "off");

// "cuda" names device 0 and "cuda:N" device N; nothing else names one.
std::optional<int> CudaDeviceIndex(std::string_view name);
// INVALID_ARGUMENT where the name is none of "auto", "cpu", "cuda" and "cuda:N".
absl::Status CheckDeviceName(std::string_view name);

// Loads liblatentd_cuda.so, which lies beside the executable or where the loader looks: a process that never asks for
// it sees no trace of CUDA. NOT_FOUND where there is no such library, UNAVAILABLE where there is no such GPU.
absl::StatusOr<Backend> MakeCudaBackend(int device_index);

}  // namespace latentd

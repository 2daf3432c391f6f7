// A backend is a Device and the Ops that run on it.
#pragma once

#include <memory>

#include <absl/status/statusor.h>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd {

struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;  // after device: its weights and scratch memory return first
};

// num_threads counts the calling thread. 0 means one per hardware thread.
absl::StatusOr<Backend> MakeCpuBackend(int num_threads);

}  // namespace latentd

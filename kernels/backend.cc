#include "kernels/backend.h"

#include <algorithm>
#include <thread>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"

namespace latentd {

absl::StatusOr<Backend> MakeCpuBackend(int num_threads) {
  if (num_threads < 0)
    return absl::InvalidArgumentError("expected a number of threads of at least 0 (0: one per hardware thread)");
  if (num_threads == 0) num_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  Backend backend;
  backend.device = std::make_unique<cpu::CpuDevice>();
  backend.ops = std::make_unique<cpu::CpuOps>(*backend.device, num_threads);
  return backend;
}

}  // namespace latentd

#include "kernels/backend.h"

#include <utility>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/entry_point.h"

namespace latentd::cuda {
namespace {

absl::StatusOr<Backend> MakeBackend(int device_index) {
  absl::StatusOr<std::unique_ptr<CudaDevice>> device = CudaDevice::Open(device_index);
  if (!device.ok()) return device.status();
  Backend backend;
  backend.ops = std::make_unique<CudaOps>(**device);
  backend.device = *std::move(device);
  return backend;
}

}  // namespace
}  // namespace latentd::cuda

extern "C" __attribute__((visibility("default"))) void latentd_make_cuda_backend_1(
    int device_index, absl::StatusOr<latentd::Backend>* backend) {
  *backend = latentd::cuda::MakeBackend(device_index);
}

// The exports of liblatentd_cuda.so, for dlsym: no CUDA header, so that the daemon needs none.
#pragma once

#include <absl/status/statusor.h>

namespace latentd {
struct Backend;
}  // namespace latentd

namespace latentd::cuda {

// Named by version: a library of another one is not taken for ours.
inline constexpr char kMakeBackend[] = "latentd_make_cuda_backend_1";
using MakeBackendFunction = void(int device_index, absl::StatusOr<Backend>* backend);

}  // namespace latentd::cuda

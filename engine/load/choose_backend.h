// The meaning of the options device and kv_dtype on this machine.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"
#include "kernels/backend.h"

namespace latentd {

struct ChosenBackend {
  Backend backend;
  std::string device;  // "cpu" or "cuda:N"
  LatentFormat latents = LatentFormat::kF32;

  bool is_cuda() const { return device != "cpu"; }
};

// "auto" is the first CUDA device where there is one that can be used, else the CPU, silently. An error names the
// device that was asked for and why it cannot be had, or the kv-dtype that the device does not store.
absl::StatusOr<ChosenBackend> ChooseBackend(const LoadOptions& options);

}  // namespace latentd

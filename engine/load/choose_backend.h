// The meaning of the option device on this machine.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"
#include "kernels/backend.h"

namespace latentd {

struct ChosenBackend {
  Backend backend;
  std::string device;  // "cpu" or "cuda:N"

  bool is_cuda() const { return device != "cpu"; }
};

// "auto" is the first CUDA device where there is one that can be used, else the CPU, silently. An error names the
// device that was asked for and why it cannot be had.
absl::StatusOr<ChosenBackend> ChooseBackend(const LoadOptions& options);

}  // namespace latentd

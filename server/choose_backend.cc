#include "server/choose_backend.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace latentd {

absl::Status CheckDeviceName(const std::string& device) {
  if (device == "auto" || device == "cpu" || CudaDeviceIndex(device).has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("device: expected auto, cpu or cuda:N, found \"%s\"", device));
}

absl::StatusOr<ChosenBackend> ChooseBackend(const Config& config) {
  const bool is_auto = config.device == "auto";
  if (config.device != "cpu") {
    const int index = CudaDeviceIndex(config.device).value_or(0);
    absl::StatusOr<Backend> cuda = MakeCudaBackend(index);
    if (cuda.ok()) return ChosenBackend{*std::move(cuda), absl::StrCat("cuda:", index)};
    if (!is_auto) {
      return absl::Status(cuda.status().code(),
                          absl::StrCat("device=", config.device, ": ", std::string(cuda.status().message())));
    }
  }
  absl::StatusOr<Backend> cpu = MakeCpuBackend(static_cast<int>(config.threads));
  if (!cpu.ok()) return cpu.status();
  return ChosenBackend{*std::move(cpu), "cpu"};
}

}  // namespace latentd

#include "engine/load/choose_backend.h"

#include <utility>

#include <absl/strings/str_cat.h>

namespace latentd {

absl::StatusOr<ChosenBackend> ChooseBackend(const LoadOptions& options) {
  const bool is_auto = options.device == "auto";
  if (options.device != "cpu") {
    const int index = CudaDeviceIndex(options.device).value_or(0);
    absl::StatusOr<Backend> cuda = MakeCudaBackend(index);
    if (cuda.ok()) return ChosenBackend{*std::move(cuda), absl::StrCat("cuda:", index)};
    if (!is_auto) {
      return absl::Status(cuda.status().code(),
                          absl::StrCat("device=", options.device, ": ", std::string(cuda.status().message())));
    }
  }
  absl::StatusOr<Backend> cpu = MakeCpuBackend(static_cast<int>(options.threads), options.pin_threads);
  if (!cpu.ok()) return cpu.status();
  return ChosenBackend{*std::move(cpu), "cpu"};
}

}  // namespace latentd

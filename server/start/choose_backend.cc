#include "server/start/choose_backend.h"

#include <span>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace latentd {

namespace {

absl::StatusOr<ChosenBackend> ChooseDevice(const Config& config) {
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

absl::StatusOr<LatentFormat> ChooseLatents(const Config& config, const ChosenBackend& chosen) {
  const std::span<const LatentFormat> stored = chosen.backend.ops->latent_formats();
  if (config.kv_dtype == "auto") return stored.front();
  std::string names = "auto";
  for (const LatentFormat format : stored) {
    if (NameOf(format) == config.kv_dtype) return format;
    absl::StrAppend(&names, ", ", std::string(NameOf(format)));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("kv-dtype: expected what %s stores (%s), found %s", chosen.device, names, config.kv_dtype));
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const Config& config) {
  absl::StatusOr<ChosenBackend> chosen = ChooseDevice(config);
  if (!chosen.ok()) return chosen.status();
  absl::StatusOr<LatentFormat> latents = ChooseLatents(config, *chosen);
  if (!latents.ok()) return latents.status();
  chosen->latents = *latents;
  return chosen;
}

}  // namespace latentd

#include "engine/load/choose_backend.h"

#include <span>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace latentd {

namespace {

absl::StatusOr<ChosenBackend> ChooseDevice(const LoadOptions& options) {
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
  absl::StatusOr<Backend> cpu = MakeCpuBackend(static_cast<int>(options.threads));
  if (!cpu.ok()) return cpu.status();
  return ChosenBackend{*std::move(cpu), "cpu"};
}

absl::StatusOr<LatentFormat> ChooseLatents(const LoadOptions& options, const ChosenBackend& chosen) {
  const std::span<const LatentFormat> stored = chosen.backend.ops->latent_formats(ActivationFormat::kF32);
  if (options.kv_dtype == "auto") return stored.front();
  std::string names = "auto";
  for (const LatentFormat format : stored) {
    if (NameOf(format) == options.kv_dtype) return format;
    absl::StrAppend(&names, ", ", std::string(NameOf(format)));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("kv-dtype: expected what %s stores (%s), found %s", chosen.device, names, options.kv_dtype));
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const LoadOptions& options) {
  absl::StatusOr<ChosenBackend> chosen = ChooseDevice(options);
  if (!chosen.ok()) return chosen.status();
  absl::StatusOr<LatentFormat> latents = ChooseLatents(options, *chosen);
  if (!latents.ok()) return latents.status();
  chosen->latents = *latents;
  return chosen;
}

}  // namespace latentd

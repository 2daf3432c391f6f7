#include "kernels/backend.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <dlfcn.h>

#include "base/placement.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/tiles.h"
#include "kernels/cuda/entry_point.h"

namespace latentd {
namespace {

constexpr char kCudaLibrary[] = "liblatentd_cuda.so";

// The library stays loaded until the process ends: backends hold pointers into it.
void* OpenCudaLibrary() {
  std::error_code error;
  const std::filesystem::path beside =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / kCudaLibrary;
  if (std::filesystem::exists(beside, error)) return dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
  return dlopen(kCudaLibrary, RTLD_NOW | RTLD_LOCAL);
}

}  // namespace

absl::StatusOr<Backend> MakeCpuBackend(int num_threads, std::string_view pinning) {
  if (num_threads < 0)
    return absl::InvalidArgumentError("expected a number of threads of at least 0 (0: what the machine grants)");
  absl::StatusOr<cpu::Placement> placement = cpu::PlaceThreads(pinning, num_threads);
  if (!placement.ok()) return placement.status();
  cpu::HasTiles();  // asks for them while there are no threads yet
  Backend backend;
  backend.device = std::make_unique<cpu::CpuDevice>();
  backend.ops =
      std::make_unique<cpu::CpuOps>(*backend.device, placement->num_threads, std::move(placement->processors));
  return backend;
}

std::optional<int> CudaDeviceIndex(std::string_view name) {
  if (name == "cuda") return 0;
  if (!name.starts_with("cuda:")) return std::nullopt;
  const std::string_view digits = name.substr(5);
  int index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size() || index < 0) return std::nullopt;
  return index;
}

absl::Status CheckDeviceName(std::string_view name) {
  if (name == "auto" || name == "cpu" || CudaDeviceIndex(name).has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("device: expected auto, cpu or cuda:N, found \"%s\"", name));
}

absl::StatusOr<Backend> MakeCudaBackend(int device_index) {
  void* library = OpenCudaLibrary();
  if (library == nullptr) return absl::NotFoundError(absl::StrCat(kCudaLibrary, ": ", dlerror()));
  auto make = reinterpret_cast<cuda::MakeBackendFunction*>(dlsym(library, cuda::kMakeBackend));
  if (make == nullptr) return absl::NotFoundError(absl::StrCat(kCudaLibrary, " is not of this version: ", dlerror()));
  absl::StatusOr<Backend> backend = absl::UnknownError("");
  make(device_index, &backend);
  return backend;
}

}  // namespace latentd

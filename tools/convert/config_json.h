// What config.json says of the weights' format, changed in place; every other key keeps its value and its order.
#pragma once

#include <filesystem>

#include <absl/status/status.h>

#include "tools/convert/planned_tensor.h"

namespace latentd {

absl::Status DeclareFp8(const std::filesystem::path& config_json, ScaleFormat format);
absl::Status DeclareBf16(const std::filesystem::path& config_json);
absl::Status DeclareF32(const std::filesystem::path& config_json);

}  // namespace latentd

// The nature and the needs of a checkpoint, from its configuration and its files' headers: no weight is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

enum class ReportFormat : uint8_t { kText, kJson };

absl::StatusOr<std::string> Inspect(const std::filesystem::path& directory, ReportFormat format);

}  // namespace latentd

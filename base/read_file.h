// Reads a whole text file of a model directory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

// NOT_FOUND if there is no such file; INVALID_ARGUMENT if it is no regular file or larger than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes);

}  // namespace latentd

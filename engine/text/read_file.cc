#include "engine/text/read_file.h"

#include <fstream>
#include <system_error>

#include <absl/strings/str_format.h>

#include "engine/file_kind.h"

namespace latentd {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    if (std::filesystem::is_symlink(path, error)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: expected a regular file, found a symbolic link to %s, which is not there; fetch it again", path.string(),
          std::filesystem::read_symlink(path, error).string()));
    }
    return absl::NotFoundError(absl::StrFormat("%s: no such file", path.string()));
  }
  // Opening a FIFO would wait for a writer.
  if (status.type() != std::filesystem::file_type::regular) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected a regular file", path.string()));
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected at most %d bytes, found %d", path.string(), max_bytes, size));
  }
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected %d readable bytes, found %d", path.string(), size, file.gcount()));
  }
  if (const std::string other = NotTheFile(text); !other.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected the file, found %s", path.string(), other));
  }
  return text;
}

}  // namespace latentd

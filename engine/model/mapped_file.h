// A regular file mapped read-only into memory. Immutable; movable; any thread may read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

namespace latentd {

class MappedFile {
 public:
  // One-line errors for whatever is not a readable, regular, non-empty file. Never waits for a FIFO's other end.
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

// Text that came from a file, made fit for one line of an error message: quoted, escaped, cut when it is long.
std::string Quoted(std::string_view text);

// The same status with "file: " before its message.
absl::Status InFile(const std::filesystem::path& file, const absl::Status& status);

}  // namespace latentd

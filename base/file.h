// Files that are read: opened with suspicion, or refused in one line. MappedFile (mapped_file.h) is for those too large
// to be copied.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace latentd {

// The whole of a text file. NOT_FOUND if there is no such file; INVALID_ARGUMENT if it is no regular file, larger than
// `max_bytes` or what NotTheFile tells.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes);

// The same status with "file: " before its message.
absl::Status InFile(const std::filesystem::path& file, const absl::Status& status);

// The kind of a file that is not the one its name promises, by its first bytes: downloads fail in a few well-known
// ways. "a git-lfs pointer in place of the file (9,755,696 bytes); fetch it with git lfs pull"; empty where nothing is
// to be said. `content` may be the whole file.
std::string NotTheFile(std::string_view content);

// A file that is opened to be read: what MappedFile and ReadFile have in common.
class RegularFile {
 public:
  // `name` is what errors call it. NOT_FOUND where there is none; a link to nowhere, a directory, a FIFO and a device
  // are INVALID_ARGUMENT, and nothing waits for a FIFO's writer.
  static absl::StatusOr<RegularFile> Open(const std::filesystem::path& path, std::string_view name);
  RegularFile(RegularFile&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), num_bytes_(other.num_bytes_) {}
  RegularFile& operator=(RegularFile&&) = delete;
  ~RegularFile();

  int descriptor() const { return descriptor_; }
  size_t num_bytes() const { return num_bytes_; }
  // The caller closes it from now on.
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  RegularFile(int descriptor, size_t num_bytes) : descriptor_(descriptor), num_bytes_(num_bytes) {}

  int descriptor_;
  size_t num_bytes_;
};

// "NAME: expected WANTED: the system's reason", where errno holds it.
absl::Status FileError(std::string_view name, std::string_view wanted);

}  // namespace latentd

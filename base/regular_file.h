// A file that is opened to be read, or the reason in a line why there is none: what MappedFile and ReadFile have in
// common.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace latentd {

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

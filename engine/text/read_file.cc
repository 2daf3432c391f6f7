#include "engine/text/read_file.h"

#include <cerrno>
#include <system_error>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file_kind.h"

namespace latentd {
namespace {

absl::Status SystemError(const std::filesystem::path& path, int error) {
  std::error_code ignored;
  if (error == ENOENT && std::filesystem::is_symlink(path, ignored)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a regular file, found a symbolic link to %s, which is not there; fetch it again",
                        path.string(), std::filesystem::read_symlink(path, ignored).string()));
  }
  if (error == ENOENT) return absl::NotFoundError(absl::StrFormat("%s: no such file", path.string()));
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected a readable file: %s", path.string(), std::generic_category().message(error)));
}

// Nothing at the end of the file, or on an error, which errno tells.
ssize_t ReadSome(int descriptor, std::string& text, size_t at) {
  ssize_t count = 0;
  do {
    count = read(descriptor, text.data() + at, text.size() - at);
  } while (count < 0 && errno == EINTR);
  return count;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait for a writer
  if (descriptor < 0) return SystemError(path, errno);
  const absl::Cleanup close_it = [descriptor] { close(descriptor); };
  struct stat found = {};
  if (fstat(descriptor, &found) != 0) return SystemError(path, errno);
  if (!S_ISREG(found.st_mode)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected a regular file, found %s", path.string(),
                                                      S_ISDIR(found.st_mode) ? "a directory" : "a device or a pipe"));
  }
  const auto size = static_cast<size_t>(found.st_size);
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected at most %d bytes, found %d", path.string(), max_bytes, size));
  }
  std::string text(size, '\0');
  for (size_t at = 0; at < size;) {
    const ssize_t count = ReadSome(descriptor, text, at);
    if (count < 0) return SystemError(path, errno);
    if (count == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: expected %d readable bytes, found %d", path.string(), size, at));
    }
    at += static_cast<size_t>(count);
  }
  if (const std::string other = NotTheFile(text); !other.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected the file, found %s", path.string(), other));
  }
  return text;
}

}  // namespace latentd

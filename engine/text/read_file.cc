#include "engine/text/read_file.h"

#include <cerrno>

#include <absl/strings/str_format.h>
#include <unistd.h>

#include "engine/file_kind.h"
#include "engine/regular_file.h"

namespace latentd {
namespace {

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
  const std::string name = path.string();
  const absl::StatusOr<RegularFile> file = RegularFile::Open(path, name);
  if (absl::IsNotFound(file.status())) return absl::NotFoundError(absl::StrFormat("%s: no such file", name));
  if (!file.ok()) return file.status();
  const size_t size = file->num_bytes();
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected at most %d bytes, found %d", name, max_bytes, size));
  }
  std::string text(size, '\0');
  for (size_t at = 0; at < size;) {
    const ssize_t count = ReadSome(file->descriptor(), text, at);
    if (count < 0) return FileError(name, "a readable file");
    if (count == 0) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: expected %d readable bytes, found %d", name, size, at));
    }
    at += static_cast<size_t>(count);
  }
  if (const std::string other = NotTheFile(text); !other.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected the file, found %s", name, other));
  }
  return text;
}

}  // namespace latentd

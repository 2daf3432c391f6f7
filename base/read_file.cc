#include "base/read_file.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include <absl/strings/str_format.h>
#include <unistd.h>

#include "base/file_kind.h"
#include "base/regular_file.h"

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

absl::Status TooLarge(const std::string& name, size_t max_bytes, const std::string& found) {
  return absl::InvalidArgumentError(absl::StrFormat("%s: expected at most %d bytes, found %s", name, max_bytes, found));
}

// To its end: files of /proc and of some file systems in user space do not tell how much they have.
absl::StatusOr<std::string> ReadToEnd(int descriptor, const std::string& name, size_t max_bytes) {
  constexpr size_t kChunkBytes = 64 << 10;
  std::string text;
  for (size_t at = 0;;) {
    text.resize(std::min(at + kChunkBytes, max_bytes + 1));
    const ssize_t count = ReadSome(descriptor, text, at);
    if (count < 0) return FileError(name, "a readable file");
    at += static_cast<size_t>(count);
    if (at > max_bytes) return TooLarge(name, max_bytes, "more");
    if (count > 0) continue;
    text.resize(at);
    return text;
  }
}

absl::StatusOr<std::string> ReadWhole(int descriptor, const std::string& name, size_t size) {
  std::string text(size, '\0');
  for (size_t at = 0; at < size;) {
    const ssize_t count = ReadSome(descriptor, text, at);
    if (count < 0) return FileError(name, "a readable file");
    if (count == 0) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: expected %d readable bytes, found %d", name, size, at));
    }
    at += static_cast<size_t>(count);
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  const std::string name = path.string();
  const absl::StatusOr<RegularFile> file = RegularFile::Open(path, name);
  if (absl::IsNotFound(file.status())) return absl::NotFoundError(absl::StrFormat("%s: no such file", name));
  if (!file.ok()) return file.status();
  const size_t size = file->num_bytes();
  if (size > max_bytes) return TooLarge(name, max_bytes, std::to_string(size));
  absl::StatusOr<std::string> text =
      size == 0 ? ReadToEnd(file->descriptor(), name, max_bytes) : ReadWhole(file->descriptor(), name, size);
  if (!text.ok()) return text;
  if (const std::string other = NotTheFile(*text); !other.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected the file, found %s", name, other));
  }
  return text;
}

}  // namespace latentd

#include "base/regular_file.h"

#include <cerrno>
#include <system_error>

#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latentd {
namespace {

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO (a pipe)";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

absl::Status FileError(std::string_view name, std::string_view wanted) {
  const int error = errno;
  const std::string message =
      absl::StrFormat("%s: expected %s: %s", name, wanted, std::system_category().message(error));
  return error == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
}

absl::StatusOr<RegularFile> RegularFile::Open(const std::filesystem::path& path, std::string_view name) {
  constexpr std::string_view kWanted = "a readable file";
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) {
    const absl::Status failed = FileError(name, kWanted);
    std::error_code ignored;
    if (!absl::IsNotFound(failed) || !std::filesystem::is_symlink(path, ignored)) return failed;
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected %s, found a symbolic link to '%s', which is not there; fetch it again", name,
                        kWanted, absl::Utf8SafeCHexEscape(std::filesystem::read_symlink(path, ignored).string())));
  }
  RegularFile file(descriptor, 0);
  struct stat facts {};
  if (fstat(descriptor, &facts) != 0) return FileError(name, kWanted);
  if (!S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a regular file, found %s", name, KindOf(facts.st_mode)));
  }
  file.num_bytes_ = static_cast<size_t>(facts.st_size);
  return file;
}

RegularFile::~RegularFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace latentd

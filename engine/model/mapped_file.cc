#include "engine/model/mapped_file.h"

#include <cerrno>
#include <string>
#include <system_error>

#include <absl/status/status.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latentd {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int number) : number_(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

absl::Status SystemError(const std::filesystem::path& path, const char* wanted) {
  const int error = errno;
  const std::string reason = std::system_category().message(error);
  const std::string message = absl::StrFormat("%s: expected %s: %s", Quoted(path.string()), wanted, reason);
  return error == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
}

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) return SystemError(path, "a readable file");
  struct stat facts {};
  if (fstat(file.number(), &facts) != 0) return SystemError(path, "a readable file");
  if (!S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a regular file, found %s", Quoted(path.string()), KindOf(facts.st_mode)));
  }
  if (facts.st_size <= 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a file with content, found an empty one", Quoted(path.string())));
  }
  const size_t size = static_cast<size_t>(facts.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (address == MAP_FAILED) return SystemError(path, "a file that can be mapped");
  return MappedFile({static_cast<const std::byte*>(address), size});
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::string Quoted(std::string_view text) {
  constexpr size_t kLongest = 300;
  const bool cut = text.size() > kLongest;
  if (cut) text = text.substr(0, kLongest);
  return absl::StrCat("'", absl::Utf8SafeCHexEscape({text.data(), text.size()}), cut ? "...'" : "'");
}

absl::Status InFile(const std::filesystem::path& file, const absl::Status& status) {
  const std::string message(status.message());
  return absl::Status(status.code(), absl::StrFormat("%s: %s", Quoted(file.string()), message));
}

}  // namespace latentd

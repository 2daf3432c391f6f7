#include "base/file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <system_error>

#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/quoting.h"

namespace latentd {

// ------------------------------------------------------------------------------------------------ what is no such file

namespace {

constexpr size_t kLookedAt = 1024;  // a pointer is shorter, and what else is told apart begins with it
constexpr std::string_view kLfs = "version https://git-lfs.github.com/spec/";
constexpr std::string_view kLfsSize = "\nsize ";

// The digits behind "size ", in groups of three.
std::string SizeOfPointer(std::string_view pointer) {
  const size_t at = pointer.find(kLfsSize);
  if (at == std::string_view::npos) return {};
  std::string_view digits = pointer.substr(at + kLfsSize.size());
  digits = digits.substr(0, std::min(digits.find_first_not_of("0123456789"), digits.size()));
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped.empty() ? "" : " of " + grouped + " bytes";
}

bool BeginsWith(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char wanted, char found) {
           return static_cast<unsigned char>(wanted) == std::tolower(static_cast<unsigned char>(found));
         });
}

struct Beginning {
  std::string_view text;  // in lower case
  std::string_view what;
};
constexpr std::array kPages = {Beginning{"<!doctype html", "an HTML page"}, Beginning{"<html", "an HTML page"},
                               Beginning{"<?xml", "an XML page"}};
// Pages that servers answer in place of a file, as text.
constexpr std::array<std::string_view, 8> kAnswers = {"entry not found",
                                                      "repository not found",
                                                      "invalid username or password",
                                                      "404: not found",
                                                      "not found",
                                                      "access to model",
                                                      "unauthorized",
                                                      "{\"error\":"};
constexpr std::array kContainers = {Beginning{"gguf", "a GGUF file"}, Beginning{"pk\x03\x04", "a zip archive"},
                                    Beginning{"\x89hdf\r\n", "an HDF5 file"}};
// The numbers that archives and compressed files begin with.
constexpr std::array kPacked = {Beginning{"\x1f\x8b\x08", "a gzip file"},
                                Beginning{"\xfd"
                                          "7zxz",
                                          "an xz file"},
                                Beginning{"\x28\xb5\x2f\xfd", "a zstd file"},
                                Beginning{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
                                Beginning{"rar!\x1a", "a RAR archive"}};

// Behind its name stands how large its blocks are.
bool IsBzip2(std::string_view content) {
  return content.starts_with("BZh") && content.size() > 3 && content[3] >= '1' && content[3] <= '9' &&
         content.substr(4).starts_with("1AY&SY");
}

// Empty: by none of them.
std::string_view PackedBy(std::string_view content) {
  if (IsBzip2(content)) return "a bzip2 file";
  for (const Beginning& packed : kPacked) {
    if (BeginsWith(content, packed.text)) return packed.what;
  }
  return {};
}

// A safetensors file begins with its header's length, which may be any number, and then the header.
bool IsSafetensors(std::string_view content) { return content.size() > 8 && content[8] == '{'; }

}  // namespace

std::string NotTheFile(std::string_view content) {
  if (content.starts_with(kLfs)) {
    return "a git-lfs pointer in place of the file" + SizeOfPointer(content.substr(0, kLookedAt)) +
           "; fetch the file itself with 'git lfs pull' or 'hf download'";
  }
  for (const Beginning& container : kContainers) {
    if (BeginsWith(content, container.text)) {
      return std::string(container.what) + "; is it under a wrong name?";
    }
  }
  if (const std::string_view packed = PackedBy(content); !packed.empty() && !IsSafetensors(content)) {
    return std::string(packed) + "; unpack it, and put the file that is in it in its place";
  }
  std::string_view text = content.substr(0, kLookedAt);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), text.size()));
  for (const Beginning& page : kPages) {
    if (BeginsWith(text, page.text)) {
      return std::string(page.what) + ", as a download leaves it that did not succeed; fetch the file again";
    }
  }
  if (content.size() > kLookedAt) return {};
  for (const std::string_view answer : kAnswers) {
    if (BeginsWith(text, answer)) return "a server's answer that there was an error; fetch the file again";
  }
  return {};
}

// ------------------------------------------------------------------------------------------------------------- opening

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

// ------------------------------------------------------------------------------------------------------------- reading

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

absl::Status InFile(const std::filesystem::path& file, const absl::Status& status) {
  const std::string message(status.message());
  return absl::Status(status.code(), absl::StrFormat("%s: %s", Quoted(file.string()), message));
}

}  // namespace latentd

#include "server/port_file.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>

#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/logging.h"

namespace latentd {
namespace {

constexpr mode_t kMode = 0644;  // whoever may read the folder may know the ports

struct Written {
  std::string path;
  dev_t device;
  ino_t inode;
};

std::mutex written_mutex;
std::optional<Written> written;  // guarded by written_mutex

absl::Status Refuse(const std::string& path, std::string_view found) {
  return absl::PermissionDeniedError(absl::StrFormat(
      "port-file: expected a path that can be written, found %s: %s; choose another", QuoteForLog(path), found));
}

std::string SystemReason() { return std::system_category().message(errno); }

// A file beside `path` with a name that nobody can foresee, made by us alone; removed again unless it was moved.
class Unfinished {
 public:
  explicit Unfinished(const std::string& path) : path_(path + ".XXXXXX") {
    descriptor_ = mkostemp(path_.data(), O_CLOEXEC);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (descriptor_ < 0) return;
    close(descriptor_);
    if (!is_moved_) unlink(path_.c_str());
  }

  bool is_open() const { return descriptor_ >= 0; }
  // Down to the disk: one that is full may say so only then.
  bool Write(std::string_view text) const {
    const ssize_t count = write(descriptor_, text.data(), text.size());
    if (count >= 0 && static_cast<size_t>(count) < text.size()) errno = ENOSPC;
    return count == static_cast<ssize_t>(text.size()) && fchmod(descriptor_, kMode) == 0 && fsync(descriptor_) == 0;
  }
  bool MoveTo(const std::string& path) {
    is_moved_ = std::rename(path_.c_str(), path.c_str()) == 0;
    return is_moved_;
  }
  struct stat Facts() const {
    struct stat facts {};
    fstat(descriptor_, &facts);
    return facts;
  }

 private:
  std::string path_;
  int descriptor_;
  bool is_moved_ = false;
};

// A name that leads elsewhere is removed, not what it leads to.
absl::Status RemoveStale(const std::string& path) {
  struct stat facts {};
  if (lstat(path.c_str(), &facts) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Refuse(path, SystemReason());
  }
  if (!S_ISREG(facts.st_mode) && !S_ISLNK(facts.st_mode)) return Refuse(path, "not a regular file");
  return unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : Refuse(path, SystemReason());
}

std::string TextOf(const BoundAddresses& addresses) {
  const auto quote = [](const Address& address) { return QuoteForLog(address.ToString()); };
  std::string text = absl::StrFormat("{\"grpc\": %s, \"metrics\": %s", quote(addresses.grpc), quote(addresses.metrics));
  if (addresses.admin) absl::StrAppendFormat(&text, ", \"admin\": %s", quote(*addresses.admin));
  return text + "}\n";
}

}  // namespace

absl::Status PreparePortFile(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  if (absl::Status status = RemoveStale(path); !status.ok()) return status;
  const Unfinished trial(path);
  return trial.is_open() && trial.Write("\n") ? absl::OkStatus() : Refuse(path, SystemReason());
}

absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses) {
  if (path.empty()) return absl::OkStatus();
  Unfinished file(path);
  if (!file.is_open() || !file.Write(TextOf(addresses))) return Refuse(path, SystemReason());
  const std::lock_guard lock(written_mutex);  // not while it is written: a second signal waits for no slow disk
  if (!file.MoveTo(path)) return Refuse(path, SystemReason());
  const struct stat facts = file.Facts();
  written = {.path = path, .device = facts.st_dev, .inode = facts.st_ino};
  return absl::OkStatus();
}

void RemovePortFile() {
  const std::lock_guard lock(written_mutex);
  if (!written) return;
  struct stat facts {};
  const bool is_ours =
      lstat(written->path.c_str(), &facts) == 0 && facts.st_dev == written->device && facts.st_ino == written->inode;
  if (is_ours) unlink(written->path.c_str());
  written.reset();
}

}  // namespace latentd

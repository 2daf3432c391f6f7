#include "server/start/port_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/quoting.h"
#include "server/process/logging.h"

namespace latentd {
namespace {

constexpr mode_t kMode = 0644;  // ports are no secret to readers of the folder

// A port file has a few hundred bytes; who reads more of something else learns nothing by it.
constexpr size_t kMaxBytes = 4096;

// Our own file, open and with that locked to the end. While it is, no other file can get its inode.
struct Written {
  std::string path;
  int descriptor;
};

std::mutex written_mutex;
std::optional<Written> written;  // guarded by written_mutex

absl::Status Refuse(const std::string& path, std::string_view found) {
  return absl::PermissionDeniedError(absl::StrFormat(
      "port-file: expected a path that can be written, found %s: %s; choose another", QuoteForLog(path), found));
}

std::string SystemReason() { return std::system_category().message(errno); }

// A file beside `path` with an unpredictable name, made by us alone; removed again unless it was moved.
class Unfinished {
 public:
  explicit Unfinished(const std::string& path) : path_(path + ".XXXXXX") {
    descriptor_ = mkostemp(path_.data(), O_CLOEXEC);
    // Others see by it that the file is in use. Where a file system knows no locks, it looks like one left behind.
    if (descriptor_ >= 0) flock(descriptor_, LOCK_EX | LOCK_NB);
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
  // Left to the caller, and locked.
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  std::string path_;
  int descriptor_;
  bool is_moved_ = false;
};

enum class Holder : uint8_t { kNobody, kDaemonThatIsGone, kLivingDaemon };

// Only what a daemon writes has these addresses and no other member. Those of earlier versions name no process.
bool IsTextOfOurs(std::string_view text) {
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains("grpc") || !parsed.contains("metrics")) return false;
  const auto is_known = [](const auto& member) {
    if (member.key() == "pid") return member.value().is_number_integer();
    const bool is_address = member.key() == "grpc" || member.key() == "metrics" || member.key() == "admin" ||
                            member.key() == "kv_events" || member.key() == "kv_events_replay";
    return is_address && member.value().is_string();
  };
  const auto members = parsed.items();
  return std::all_of(members.begin(), members.end(), is_known);
}

std::string ReadShort(int descriptor) {
  std::string text(kMaxBytes, '\0');
  const ssize_t count = read(descriptor, text.data(), text.size());
  text.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

// The daemon whose file lies at `path`. Anything but a port file is an error: neither a link nor anything else is ours
// to remove.
absl::StatusOr<Holder> FindHolder(const std::string& path) {
  constexpr std::string_view kForeign = "something that no daemon wrote";
  struct stat facts {};
  if (lstat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return Holder::kNobody;
    return Refuse(path, SystemReason());
  }
  if (S_ISLNK(facts.st_mode)) return Refuse(path, "a link");
  if (!S_ISREG(facts.st_mode)) return Refuse(path, "not a regular file");
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0 && errno == ENOENT) return Holder::kNobody;  // its daemon has just ended
  if (descriptor < 0) return Refuse(path, SystemReason());
  const bool is_ours = IsTextOfOurs(ReadShort(descriptor));
  const bool is_held = is_ours && flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(descriptor);
  if (!is_ours) return Refuse(path, kForeign);
  return is_held ? Holder::kLivingDaemon : Holder::kDaemonThatIsGone;
}

std::string TextOf(const BoundAddresses& addresses) {
  const auto quote = [](const Address& address) { return QuoteForLog(address.ToString()); };
  std::string text = absl::StrFormat("{\"grpc\": %s, \"metrics\": %s", quote(addresses.grpc), quote(addresses.metrics));
  const auto append = [&](const char* name, const std::optional<Address>& address) {
    if (address) absl::StrAppendFormat(&text, ", \"%s\": %s", name, quote(*address));
  };
  append("admin", addresses.admin);
  append("kv_events", addresses.kv_events);
  append("kv_events_replay", addresses.kv_events_replay);
  return absl::StrFormat("%s, \"pid\": %d}\n", text, getpid());
}

}  // namespace

absl::Status PreparePortFile(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  const absl::StatusOr<Holder> holder = FindHolder(path);
  if (!holder.ok()) return holder.status();
  if (*holder == Holder::kDaemonThatIsGone && unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Refuse(path, SystemReason());
  }
  const Unfinished trial(path);
  return trial.is_open() && trial.Write("\n") ? absl::OkStatus() : Refuse(path, SystemReason());
}

absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses) {
  if (path.empty()) return absl::OkStatus();
  Unfinished file(path);
  if (!file.is_open() || !file.Write(TextOf(addresses))) return Refuse(path, SystemReason());
  const absl::StatusOr<Holder> holder = FindHolder(path);  // again: the model took its time
  if (!holder.ok()) return holder.status();
  const std::lock_guard lock(written_mutex);  // not while it is written: a second signal waits for no slow disk
  if (!file.MoveTo(path)) return Refuse(path, SystemReason());
  written = {.path = path, .descriptor = file.Release()};
  return absl::OkStatus();
}

void RemovePortFile() {
  const std::lock_guard lock(written_mutex);
  if (!written) return;
  struct stat ours {
  }, there{};
  const bool is_ours = fstat(written->descriptor, &ours) == 0 && lstat(written->path.c_str(), &there) == 0 &&
                       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
  if (is_ours) unlink(written->path.c_str());
  close(written->descriptor);
  written.reset();
}

}  // namespace latentd

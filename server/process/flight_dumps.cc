#include "server/process/flight_dumps.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <system_error>

#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/last_act.h"
#include "base/quoting.h"
#include "server/process/logging.h"

namespace latentd {
namespace {

// In one process: a daemon that stalls again and again does not fill its disk.
constexpr int kMaxFiles = 16;
constexpr mode_t kMode = 0600;
constexpr size_t kEntriesPerWrite = 100;

constexpr char kNoDirectory[] = "flight recorder: not saved, because recorder-dir names no directory";

std::atomic<const FlightDumps*> of_process = nullptr;

int64_t UnixNanoseconds() { return Duration(std::chrono::system_clock::now().time_since_epoch()).count(); }

int64_t NanosecondsOf(const Clock& clock) { return Duration(clock.Now().time_since_epoch()).count(); }

// Names that sort by time; with the process's id, which in a container is always the same one.
std::string BeginningOfNames() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &utc);
  return absl::StrFormat("latentd-%s-%d", text, getpid());
}

}  // namespace

// A file that is written in order, but for its beginning. Without memory of its own.
class FlightDumps::Output {
 public:
  explicit Output(const char* path)
      : descriptor_(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, kMode)) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  bool is_open() const { return descriptor_ >= 0; }
  bool WriteAt(uint64_t place, std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(place));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
      place += static_cast<uint64_t>(count);
    }
    return true;
  }
  bool EndAt(uint64_t place) const { return ftruncate(descriptor_, static_cast<off_t>(place)) == 0; }

 private:
  const int descriptor_;
};

// Entries from `start` on, in batches.
class FlightDumps::EntryWriter {
 public:
  EntryWriter(const Output& output, uint64_t start) : output_(output), start_(start) {}

  uint64_t num_entries() const { return num_written_ + num_buffered_; }
  void StartAgain() { num_written_ = num_buffered_ = 0; }
  bool Add(const FlightEntry& entry) {
    const auto bytes = EncodedFlightEntry(entry);
    std::copy(bytes.begin(), bytes.end(), buffer_.begin() + static_cast<std::ptrdiff_t>(num_buffered_ * bytes.size()));
    return ++num_buffered_ < kEntriesPerWrite || Flush();
  }
  bool Flush() {
    const std::string_view bytes(buffer_.data(), num_buffered_ * kFlightEntryBytes);
    const bool is_written = output_.WriteAt(start_ + num_written_ * kFlightEntryBytes, bytes);
    num_written_ += num_buffered_;
    num_buffered_ = 0;
    return is_written;
  }

 private:
  const Output& output_;
  const uint64_t start_;
  uint64_t num_written_ = 0;
  size_t num_buffered_ = 0;
  std::array<char, kEntriesPerWrite * kFlightEntryBytes> buffer_;
};

FlightDump TakeFlightDump(const FlightRecorder& recorder, size_t most, const Clock& clock) {
  const uint64_t end = recorder.num_recorded();
  FlightDump dump{.num_recorded = end, .entries = recorder.Before(end, most)};
  // After the entries, so that none of them is later.
  dump.clock_nanoseconds = NanosecondsOf(clock);
  dump.unix_nanoseconds = UnixNanoseconds();
  return dump;
}

absl::Status CheckRecorderDirectory(const std::string& directory) {
  if (directory.empty()) return absl::OkStatus();
  struct stat facts {};
  std::string found;
  if (stat(directory.c_str(), &facts) != 0 || access(directory.c_str(), W_OK | X_OK) != 0) {
    found = std::system_category().message(errno);
  } else if (!S_ISDIR(facts.st_mode)) {
    found = "no directory";
  }
  if (found.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "recorder-dir: expected a directory that can be written to, found %s: %s", QuoteForLog(directory), found));
}

FlightDumps::FlightDumps(const Options& options, const Clock& clock)
    : options_{.directory = options.directory,
               .fingerprint = std::string(CutText(options.fingerprint, kMaxFlightFingerprintBytes))},
      clock_(clock),
      beginning_(BeginningOfNames()),
      check_path_(PathFor("check")),
      saved_line_(LineForLater("flight recorder: " + check_path_)),
      failed_line_(
          LineForLater(options.directory.empty() ? kNoDirectory : "flight recorder: not saved to " + check_path_)) {}

std::string FlightDumps::PathFor(std::string_view why) const {
  return absl::StrFormat("%s/%s-%s.flight", options_.directory, beginning_, why);
}

bool FlightDumps::Write(const FlightRecorder& recorder, const char* path) const {
  const Output output(path);
  if (!output.is_open()) return false;
  if (WriteTo(output, recorder)) return true;
  const int reason = errno;
  unlink(path);
  errno = reason;
  return false;
}

bool FlightDumps::WriteTo(const Output& output, const FlightRecorder& recorder) const {
  const uint64_t start = kFlightHeadBytes + options_.fingerprint.size();
  EntryWriter entries(output, start);
  const uint64_t end = recorder.num_recorded();
  FlightEntry entry;
  for (uint64_t number = end - std::min<uint64_t>(end, recorder.num_entries() - 1); number < end; ++number) {
    if (!recorder.Read(number, entry)) {
      entries.StartAgain();  // what came before it is overwritten, too
    } else if (!entries.Add(entry)) {
      return false;
    }
  }
  const auto head = EncodedFlightHead({.num_entries = entries.num_entries(),
                                       .num_recorded = end,
                                       .clock_nanoseconds = NanosecondsOf(clock_),
                                       .unix_nanoseconds = UnixNanoseconds(),
                                       .fingerprint_bytes = static_cast<uint32_t>(options_.fingerprint.size())});
  return entries.Flush() && output.EndAt(start + entries.num_entries() * kFlightEntryBytes) &&
         output.WriteAt(kFlightHeadBytes, options_.fingerprint) && output.WriteAt(0, {head.data(), head.size()});
}

void FlightDumps::Save(const FlightRecorder& recorder, std::string_view why) {
  if (options_.directory.empty()) return spdlog::warn("{}", kNoDirectory);
  const int number = ++num_saved_;
  if (number > kMaxFiles) return spdlog::warn("flight recorder: not saved, because {} files were", kMaxFiles);
  const std::string path = PathFor(absl::StrFormat("%s-%d", why, number));
  if (Write(recorder, path.c_str())) return spdlog::warn("flight recorder: {}", path);
  spdlog::error("flight recorder: not saved to {}: {}", path, std::system_category().message(errno));
}

void FlightDumps::SaveOnFailedCheck(const FlightRecorder& recorder) {
  of_checks_ = &recorder;
  of_process = this;
  SetLastAct(&OnFailedCheck);
}

void FlightDumps::Forget() {
  if (of_process == this) of_process = nullptr;
  of_checks_ = nullptr;
}

void FlightDumps::OnFailedCheck() {
  const FlightDumps* dumps = of_process;
  const FlightRecorder* recorder = dumps == nullptr ? nullptr : dumps->of_checks_.load();
  if (recorder == nullptr) return;
  const bool is_saved = !dumps->options_.directory.empty() && dumps->Write(*recorder, dumps->check_path_.c_str());
  const std::string& line = is_saved ? dumps->saved_line_ : dumps->failed_line_;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace latentd

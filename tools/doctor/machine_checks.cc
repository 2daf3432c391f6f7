#include "tools/doctor/machine_checks.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <sys/timex.h>

#include "base/cgroups.h"
#include "base/placement.h"
#include "server/process/descriptors.h"
#include "server/process/thread_room.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCores = "cores";
constexpr std::string_view kCgroups = "cgroups";
constexpr std::string_view kHugePages = "huge-pages";
constexpr std::string_view kDescriptors = "descriptors";
constexpr std::string_view kThreads = "threads";
constexpr std::string_view kClock = "clock";

constexpr double kThrottledShare = 0.01;      // of periods, from which on tokens visibly wait
constexpr double kOldestUnixSeconds = 1.7e9;  // November 2023: before this program was written
constexpr double kMicroseconds = 1e6;

void Warn(std::string_view check, std::string found, std::string advice, Findings& findings) {
  findings.push_back({.check = std::string(check),
                      .severity = Severity::kWarning,
                      .found = std::move(found),
                      .advice = std::move(advice)});
}

// The least limit that one of these files sets in a controller's groups.
std::optional<size_t> LeastLimit(std::string_view controller, std::initializer_list<const char*> files,
                                 const fs::path& root) {
  std::optional<size_t> least;
  for (const cpu::Cgroup& group : cpu::CgroupsOf(controller, root)) {
    for (const char* file : files) {
      const std::optional<size_t> limit = cpu::ReadNumber(group.folder / file);
      // Version 1 says "none" with the largest number of whole pages.
      if (limit && *limit < SIZE_MAX / 4 && (!least || *limit < *least)) least = limit;
    }
  }
  return least;
}

size_t SumOf(std::string_view controller, const char* file, const std::string& key, const fs::path& root) {
  size_t most = 0;  // a group above counts what happens in those below
  for (const cpu::Cgroup& group : cpu::CgroupsOf(controller, root)) {
    most = std::max(most, cpu::ReadField(group.folder / file, key).value_or(0));
  }
  return most;
}

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

void CheckCores(const Config& config, const cpu::ProcessorFacts& facts, Findings& findings) {
  const cpu::ComputeThreads granted = cpu::ThreadsFor(facts);
  const absl::StatusOr<cpu::Placement> placement =
      cpu::PlaceThreads(config.pin_threads, static_cast<int>(config.threads));
  if (!placement.ok()) return findings.push_back(Wrong(kCores, placement.status()));
  const std::string found = absl::StrFormat("%d compute threads, %s", placement->num_threads, granted.reason);
  if (placement->num_threads > granted.count) {
    return Warn(kCores, found,
                absl::StrFormat("each step waits for threads without a processor: set --threads=%d or 0, or grant more",
                                granted.count),
                findings);
  }
  if (facts.quota < 1.0) {
    return Warn(kCores, found, "each step waits for the quota's next period: grant at least one processor", findings);
  }
  findings.push_back(Fine(kCores, found));
}

void CheckCgroups(const fs::path& root, Findings& findings) {
  std::string found;
  const auto memory = LeastLimit("memory", {"memory.max", "memory.high", "memory.limit_in_bytes"}, root);
  absl::StrAppend(&found, "memory ",
                  memory ? absl::StrFormat("%.1f MiB", static_cast<double>(*memory) / 0x1p20) : "unlimited");
  const double quota = cpu::FindProcessors(root).quota;
  absl::StrAppend(&found, ", cpu ", std::isinf(quota) ? "unlimited" : absl::StrFormat("%g", quota));
  const auto pids = LeastLimit("pids", {"pids.max"}, root);
  absl::StrAppend(&found, ", pids ", pids ? absl::StrCat(*pids) : "unlimited");
  const auto periods = static_cast<double>(SumOf("cpu", "cpu.stat", "nr_periods", root));
  const auto throttled = static_cast<double>(SumOf("cpu", "cpu.stat", "nr_throttled", root));
  const size_t num_killed = SumOf("memory", "memory.events", "oom_kill", root);
  if (throttled > periods * kThrottledShare) {
    Warn(kCgroups, absl::StrFormat("%s; throttled in %.0f of %.0f periods", found, throttled, periods),
         "raise the quota of CPU time, or lower --threads and --egress-threads", findings);
  }
  if (num_killed > 0) {
    Warn(kCgroups, absl::StrFormat("%s; the kernel killed %d processes for their memory", found, num_killed),
         "raise the limit of memory, or lower --kv-bytes", findings);
  }
  if (throttled <= periods * kThrottledShare && num_killed == 0) findings.push_back(Fine(kCgroups, found));
}

void CheckHugePages(const fs::path& root, Findings& findings) {
  const std::string enabled = ReadText(root / "sys/kernel/mm/transparent_hugepage/enabled");
  if (enabled.find("[always]") != std::string::npos || enabled.find("[madvise]") != std::string::npos) {
    return findings.push_back(Fine(kHugePages, "the kernel gives them where they are asked for"));
  }
  Warn(kHugePages, enabled.empty() ? "the kernel has none" : "transparent huge pages are off",
       "reading weights misses the TLB: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled on the host",
       findings);
}

void CheckLimits(const Config& config, Findings& findings) {
  const absl::Status descriptors = CheckDescriptors();
  const int64_t most = MaxDescriptors();
  AddWarnings(kDescriptors, ConnectionWarnings(config, most), findings);
  findings.push_back(descriptors.ok() ? Fine(kDescriptors, absl::StrFormat("%d, of which %d for connections of the API",
                                                                           most, LimitsOfApi(config, most).connections))
                                      : Wrong(kDescriptors, descriptors));
  const absl::Status threads = cpu::CheckThreads(config);
  findings.push_back(threads.ok() ? Fine(kThreads, "all can be started, with their stacks") : Wrong(kThreads, threads));
}

ClockFacts ReadClock() {
  ClockFacts facts;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  facts.unix_seconds = static_cast<double>(now.tv_sec);
  timex state{};
  const int answer = adjtimex(&state);
  facts.is_known = answer >= 0;
  facts.is_synchronised = answer >= 0 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  facts.error_seconds = static_cast<double>(state.maxerror) / kMicroseconds;
  return facts;
}

void CheckClock(const ClockFacts& facts, Findings& findings) {
  if (facts.unix_seconds < kOldestUnixSeconds) {
    findings.push_back(
        {.check = std::string(kClock),
         .severity = Severity::kError,
         .found = absl::StrFormat("%.0f s since 1970, which is before this program was made", facts.unix_seconds),
         .advice = "set the clock: certificates look not yet valid, logs and traces lie"});
  } else if (!facts.is_known) {
    findings.push_back(Fine(kClock, "the kernel does not tell whether it is synchronised"));
  } else if (!facts.is_synchronised) {
    Warn(kClock, "not synchronised, says the kernel",
         "run chrony or systemd-timesyncd on the host: logs, traces and certificates' dates depend on it", findings);
  } else {
    findings.push_back(Fine(kClock, absl::StrFormat("synchronised, to %.3f s at worst", facts.error_seconds)));
  }
}

}  // namespace latentd

#include "base/processors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <vector>

#include <absl/strings/str_format.h>
#include <sched.h>
#include <unistd.h>

#include "base/cgroups.h"

namespace latentd::cpu {
namespace {

constexpr int kMostProcessors = 1 << 20;

// By the process's first thread: others may be pinned.
int NumAllowed(int online) {
  // The kernel refuses a set that is smaller than its own.
  for (int size = 1024; size <= kMostProcessors; size *= 2) {
    std::vector<cpu_set_t> set(CPU_ALLOC_SIZE(size) / sizeof(cpu_set_t));
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(getpid(), bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
  }
  return online;
}

// Infinity: none.
double QuotaOf(const Cgroup& group) {
  double quota = 0.0, period = 0.0;
  if (group.version == CgroupVersion::k2) {
    std::ifstream file(group.folder / "cpu.max");  // "quota period" or "max period"
    file >> quota >> period;
  } else {
    std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;  // -1: none
    std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
  }
  return quota > 0.0 && period > 0.0 ? quota / period : std::numeric_limits<double>::infinity();
}

std::string Count(int number) { return absl::StrFormat("%d processor%s", number, number == 1 ? "" : "s"); }

}  // namespace

ProcessorFacts FindProcessors(const std::filesystem::path& root) {
  ProcessorFacts facts;
  facts.online = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  facts.allowed = NumAllowed(facts.online);
  for (const Cgroup& group : CgroupsOf("cpu", root)) facts.quota = std::min(facts.quota, QuotaOf(group));
  return facts;
}

ComputeThreads ThreadsFor(const ProcessorFacts& facts) {
  const int allowed = std::max(1, facts.allowed);
  if (facts.quota < allowed) {
    return {.count = std::max(1, static_cast<int>(std::floor(facts.quota))),
            .reason = absl::StrFormat("a cgroup's quota of %g processors, %s allowed", facts.quota, Count(allowed))};
  }
  if (allowed < facts.online) {
    return {.count = allowed, .reason = absl::StrFormat("the affinity allows %d of %s", allowed, Count(facts.online))};
  }
  return {.count = allowed, .reason = Count(allowed)};
}

}  // namespace latentd::cpu

#include "base/available_memory.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include <sys/resource.h>
#include <unistd.h>

#include "base/cgroups.h"

namespace latentd::cpu {
namespace {

namespace fs = std::filesystem;

constexpr size_t kKiB = 1024;

size_t LeftOf(size_t limit, size_t used) { return limit - std::min(limit, used); }

struct CgroupNames {
  const char* usage;
  const char* inactive_cache;
  const char* active_cache;
};
constexpr CgroupNames kVersion1{"memory.usage_in_bytes", "total_inactive_file", "total_active_file"};
constexpr CgroupNames kVersion2{"memory.current", "inactive_file", "active_file"};

size_t LimitOf(const Cgroup& group) {
  const auto number = [&group](const char* file) { return ReadNumber(group.folder / file).value_or(SIZE_MAX); };
  // Above memory.high the kernel slows a group down until it has given memory back: there is no serving beyond it.
  if (group.version == CgroupVersion::k2) return std::min(number("memory.max"), number("memory.high"));
  // Also what groups above allow that are not seen from inside a container.
  const size_t above = ReadField(group.folder / "memory.stat", "hierarchical_memory_limit").value_or(SIZE_MAX);
  return std::min(number("memory.limit_in_bytes"), above);
}

size_t LeftInGroup(const Cgroup& group) {
  const size_t limit = LimitOf(group);
  if (limit == SIZE_MAX) return SIZE_MAX;
  const CgroupNames& names = group.version == CgroupVersion::k1 ? kVersion1 : kVersion2;
  const size_t usage = ReadNumber(group.folder / names.usage).value_or(0);
  const fs::path stat = group.folder / "memory.stat";
  const size_t cache =
      ReadField(stat, names.inactive_cache).value_or(0) + ReadField(stat, names.active_cache).value_or(0);
  return LeftOf(limit, LeftOf(usage, cache));
}

// The room that `ulimit` leaves of what the named field of the process's status counts.
size_t LeftOfLimit(__rlimit_resource resource, const fs::path& root, const char* field) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return LeftOf(limit.rlim_cur, ReadField(root / "proc/self/status", field).value_or(0) * kKiB);
}

}  // namespace

size_t AvailableMemory(const fs::path& root) {
  size_t available = std::min(LeftOfLimit(RLIMIT_AS, root, "VmSize:"), LeftOfLimit(RLIMIT_DATA, root, "VmData:"));
  if (const auto kib = ReadField(root / "proc/meminfo", "MemAvailable:")) available = std::min(available, *kib * kKiB);
  for (const Cgroup& group : CgroupsOf("memory", root)) available = std::min(available, LeftInGroup(group));
  return available;
}

}  // namespace latentd::cpu

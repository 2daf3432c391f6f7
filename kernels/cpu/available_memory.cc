#include "kernels/cpu/available_memory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace latentd::cpu {
namespace {

namespace fs = std::filesystem;

std::optional<size_t> ReadNumber(const fs::path& path) {  // nothing for "max" or a missing file
  std::ifstream file(path);
  size_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// The number behind `key` in lines of "key number …".
std::optional<size_t> ReadField(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    size_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

struct CgroupNames {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* inactive_cache;
  const char* active_cache;
};
constexpr CgroupNames kVersion1{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                "total_inactive_file", "total_active_file"};
constexpr CgroupNames kVersion2{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};

size_t LeftInGroup(const fs::path& group, const CgroupNames& names) {
  const std::optional<size_t> limit = ReadNumber(group / names.limit);
  if (!limit.has_value()) return SIZE_MAX;
  const size_t usage = ReadNumber(group / names.usage).value_or(0);
  const fs::path stat = group / "memory.stat";
  const size_t cache =
      ReadField(stat, names.inactive_cache).value_or(0) + ReadField(stat, names.active_cache).value_or(0);
  const size_t used = usage - std::min(usage, cache);
  return *limit - std::min(*limit, used);
}

// A container often sees its own group mounted as the root while /proc still names the path outside: missing folders
// are skipped, the mount itself is always looked at.
size_t LeftInGroups(const fs::path& root, fs::path group, const CgroupNames& names) {
  size_t left = LeftInGroup(root / names.mount, names);
  for (; group.has_relative_path(); group = group.parent_path())
    left = std::min(left, LeftInGroup(root / names.mount / group.relative_path(), names));
  return left;
}

}  // namespace

size_t AvailableMemory(const fs::path& root) {
  constexpr size_t kKiB = 1024;
  size_t available = SIZE_MAX;
  if (const auto kib = ReadField(root / "proc/meminfo", "MemAvailable:")) available = *kib * kKiB;
  std::ifstream groups(root / "proc/self/cgroup");  // lines of "id:controllers:path"; version 2 is "0::path"
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);
    controllers.front() = controllers.back() = ',';
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") available = std::min(available, LeftInGroups(root, group, kVersion2));
    if (controllers.find(",memory,") != std::string::npos)
      available = std::min(available, LeftInGroups(root, group, kVersion1));
  }
  return available;
}

}  // namespace latentd::cpu

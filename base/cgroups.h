// The control groups that bound this process, of version 1, 2 and both at once, as far as they are seen from where it
// runs. Files of /proc and /sys only; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latentd::cpu {

enum class CgroupVersion : uint8_t { k1, k2 };

struct Cgroup {
  CgroupVersion version = CgroupVersion::k2;
  std::filesystem::path folder;  // may not exist: a container's /proc can name a path that only its host sees
};

// The process's own group of one controller ("cpu", "memory", "pids") and all above it, up to where it is mounted.
// Each of them bounds the process. Which these are is read once: the process is taken to stay in the groups that it was
// in then. `root` stands before /proc and /sys, for tests.
std::vector<Cgroup> CgroupsOf(std::string_view controller, const std::filesystem::path& root);

// The number that a file begins with; nothing for "max", "-1" or a missing file.
std::optional<size_t> ReadNumber(const std::filesystem::path& path);

// The number behind `key` in lines of "key number …".
std::optional<size_t> ReadField(const std::filesystem::path& path, const std::string& key);

}  // namespace latentd::cpu

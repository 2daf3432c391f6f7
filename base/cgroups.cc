#include "base/cgroups.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

namespace latentd::cpu {
namespace {

namespace fs = std::filesystem;

// "cpu,cpuacct" has "cpu" and not "acct".
bool Lists(std::string_view controllers, std::string_view controller) {
  std::string words = ",";
  words.append(controllers).append(",");
  return words.find("," + std::string(controller) + ",") != std::string::npos;
}

// A line of "id:controllers:path" in /proc/self/cgroup; version 2 is "0::path".
struct Membership {
  CgroupVersion version = CgroupVersion::k2;
  std::string controllers;  // of version 1
  fs::path path;            // within the hierarchy

  bool Has(std::string_view controller) const { return version == CgroupVersion::k2 || Lists(controllers, controller); }
};

std::vector<Membership> ReadMemberships(const fs::path& root) {
  std::vector<Membership> memberships;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    memberships.push_back({.version = controllers.empty() ? CgroupVersion::k2 : CgroupVersion::k1,
                           .controllers = controllers,
                           .path = line.substr(second + 1)});
  }
  return memberships;
}

struct Mount {
  CgroupVersion version = CgroupVersion::k2;
  std::string options;  // of version 1: the controllers are among them
  fs::path top;         // the group that is mounted
  fs::path point;       // where

  bool Has(std::string_view controller) const { return version == CgroupVersion::k2 || Lists(options, controller); }
};

// "id parent device top point options … - type source options", as proc(5) has it.
std::vector<Mount> ReadMounts(const fs::path& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line);
    const std::vector<std::string> words(std::istream_iterator<std::string>(stream), {});
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) continue;
    if (dash[1] != "cgroup2" && dash[1] != "cgroup") continue;
    mounts.push_back({.version = dash[1] == "cgroup2" ? CgroupVersion::k2 : CgroupVersion::k1,
                      .options = dash[3],
                      .top = words[3],
                      .point = words[4]});
  }
  return mounts;
}

// This process's groups and their mount points, from /proc.
struct Hierarchies {
  explicit Hierarchies(const fs::path& root) : memberships(ReadMemberships(root)), mounts(ReadMounts(root)) {}

  std::vector<Mount> MountsOf(CgroupVersion version, std::string_view controller) const {
    std::vector<Mount> found;
    for (const Mount& mount : mounts) {
      if (mount.version == version && mount.Has(controller)) found.push_back(mount);
    }
    if (!found.empty()) return found;
    const fs::path folder = "/sys/fs/cgroup";
    return {{.version = version,
             .options = "",
             .top = "/",
             .point = version == CgroupVersion::k2 ? folder : folder / controller}};
  }

  const std::vector<Membership> memberships;
  const std::vector<Mount> mounts;
};

// The path as it is under the mount. A container often has its own group mounted as the top while /proc names the path
// that the host sees: such a path is taken whole, and only what exists of it counts.
fs::path Below(const fs::path& top, const fs::path& path) {
  const fs::path relative = path.lexically_relative(top);
  const bool is_outside = relative.empty() || *relative.begin() == "..";
  return (is_outside ? path.relative_path() : relative).lexically_normal();
}

}  // namespace

std::vector<Cgroup> CgroupsOf(std::string_view controller, const fs::path& root) {
  static const Hierarchies of_process("/");
  std::optional<Hierarchies> of_test;
  const Hierarchies& hierarchies = root == "/" ? of_process : of_test.emplace(root);
  std::vector<Cgroup> groups;
  for (const Membership& membership : hierarchies.memberships) {
    if (!membership.Has(controller)) continue;
    for (const Mount& mount : hierarchies.MountsOf(membership.version, controller)) {
      const fs::path point = root / mount.point.relative_path();
      for (fs::path below = Below(mount.top, membership.path); !below.empty() && below != ".";
           below = below.parent_path())
        groups.push_back({membership.version, point / below});
      groups.push_back({membership.version, point});
    }
  }
  return groups;
}

std::optional<size_t> ReadNumber(const fs::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value && value >= 0) return static_cast<size_t>(value);
  return std::nullopt;
}

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

}  // namespace latentd::cpu

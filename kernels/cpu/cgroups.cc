#include "kernels/cpu/cgroups.h"

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

struct Membership {
  CgroupVersion version = CgroupVersion::k2;
  fs::path path;  // within the hierarchy
};

// Lines of "id:controllers:path"; version 2 is "0::path".
std::vector<Membership> MembershipsOf(std::string_view controller, const fs::path& root) {
  std::vector<Membership> memberships;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) {
      memberships.push_back({CgroupVersion::k2, line.substr(second + 1)});
    } else if (Lists(controllers, controller)) {
      memberships.push_back({CgroupVersion::k1, line.substr(second + 1)});
    }
  }
  return memberships;
}

struct Mount {
  fs::path top;    // the group that is mounted
  fs::path point;  // where
};

// "id parent device top point options … - type source options", as proc(5) has it.
std::vector<Mount> MountsIn(const fs::path& mountinfo, CgroupVersion version, std::string_view controller) {
  std::vector<Mount> mounts;
  std::ifstream file(mountinfo);
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line);
    const std::vector<std::string> words(std::istream_iterator<std::string>(stream), {});
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) continue;
    const bool is_it =
        version == CgroupVersion::k2 ? dash[1] == "cgroup2" : dash[1] == "cgroup" && Lists(dash[3], controller);
    if (is_it) mounts.push_back({words[3], words[4]});
  }
  return mounts;
}

std::vector<Mount> MountsOf(CgroupVersion version, std::string_view controller, const fs::path& root) {
  std::vector<Mount> mounts = MountsIn(root / "proc/self/mountinfo", version, controller);
  if (!mounts.empty()) return mounts;
  const std::string folder = version == CgroupVersion::k2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/";
  return {{"/", version == CgroupVersion::k2 ? folder : folder + std::string(controller)}};
}

// The path as it is under the mount. A container often has its own group mounted as the top while /proc names the path
// that the host sees: such a path is taken whole, and only what exists of it counts.
fs::path Below(const fs::path& top, const fs::path& path) {
  const fs::path relative = path.lexically_relative(top);
  const bool is_outside = relative.empty() || *relative.begin() == "..";
  return (is_outside ? path.relative_path() : relative).lexically_normal();
}

}  // namespace

std::vector<Cgroup> CgroupsOf(std::string_view controller, const fs::path& root) {
  std::vector<Cgroup> groups;
  for (const Membership& membership : MembershipsOf(controller, root)) {
    for (const Mount& mount : MountsOf(membership.version, controller, root)) {
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

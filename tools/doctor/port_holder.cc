#include "tools/doctor/port_holder.h"

#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

namespace latentd {
namespace {

namespace fs = std::filesystem;

using Inodes = std::set<std::string>;

std::vector<std::string> WordsOf(const std::string& line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
}

// Lines of "sl local_address rem_address st … inode", the port in hexadecimal, 0A for a socket that listens.
void AddListeners(const fs::path& table, int port, Inodes& inodes) {
  constexpr size_t kAddress = 1, kState = 3, kInode = 9;
  std::ifstream file(table);
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = WordsOf(line);
    if (words.size() <= kInode || words[kState] != "0A") continue;
    if (words[kAddress].ends_with(absl::StrFormat(":%04X", port))) inodes.insert(words[kInode]);
  }
}

// Lines of "Num RefCount Protocol Flags Type St Inode Path", without a path for a client's end.
void AddPaths(const fs::path& table, const std::string& path, Inodes& inodes) {
  constexpr size_t kInode = 6, kPath = 7;
  std::ifstream file(table);
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = WordsOf(line);
    if (words.size() > kPath && words[kPath] == path) inodes.insert(words[kInode]);
  }
}

bool HoldsOne(const fs::path& process, const Inodes& inodes) {
  std::error_code error;
  for (fs::directory_iterator at(process / "fd", error), end; !error && at != end; at.increment(error)) {
    std::error_code is_gone;
    const std::string target = fs::read_symlink(at->path(), is_gone).string();
    if (!is_gone && target.starts_with("socket:[") && inodes.contains(target.substr(8, target.size() - 9))) return true;
  }
  return false;
}

}  // namespace

PortHolder FindPortHolder(const Address& address, const fs::path& root) {
  Inodes inodes;
  if (address.kind == Address::Kind::kUnix) {
    AddPaths(root / "proc/net/unix", address.host, inodes);
  } else {
    for (const char* table : {"proc/net/tcp", "proc/net/tcp6"}) AddListeners(root / table, address.port, inodes);
  }
  std::error_code error;
  for (fs::directory_iterator at(root / "proc", error), end; !error && at != end; at.increment(error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(at->path().filename().string(), &pid) || !HoldsOne(at->path(), inodes)) continue;
    std::string name;
    std::ifstream file(at->path() / "comm");
    std::getline(file, name);
    return {.name = name, .pid = pid};
  }
  return {};
}

}  // namespace latentd

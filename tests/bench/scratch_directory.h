// A directory under the system's temporary one that goes with this process, whatever ends it: a shell waits for the end
// of a pipe that only this process holds, and removes it. Its path may be told to others while this lives.
#pragma once

#include <filesystem>

#include <sys/types.h>

namespace latentd {

class ScratchDirectory {
 public:
  ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory();  // once it is removed

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int held_ = -1;  // the pipe's end
  pid_t shell_ = -1;
};

}  // namespace latentd

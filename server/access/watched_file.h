// A file whose changes are noticed by its entry in the directory: another file in its place, another size or time.
// One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <sys/stat.h>

namespace latentd {

class WatchedFile {
 public:
  explicit WatchedFile(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  // Since the last call, or ever where there was none. A file that is gone did change, once.
  bool HasChanged() {
    struct stat file {};
    std::optional<State> now;
    if (stat(path_.c_str(), &file) == 0) {
      now = State(file.st_dev, file.st_ino, file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
    }
    const bool is_first = !std::exchange(was_seen_, true);
    return std::exchange(state_, now) != now || is_first;
  }

 private:
  using State = std::tuple<dev_t, ino_t, off_t, int64_t, int64_t>;

  const std::string path_;
  std::optional<State> state_;
  bool was_seen_ = false;
};

}  // namespace latentd

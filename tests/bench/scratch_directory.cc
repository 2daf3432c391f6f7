#include "tests/bench/scratch_directory.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace latentd {
namespace {

// In a session of its own: what a terminal or a timeout sends to the bench's group must not end it first.
pid_t RemoveAtEndOf(int pipe, const std::string& path) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  CHECK_EQ(posix_spawn_file_actions_init(&actions), 0);
  CHECK_EQ(posix_spawnattr_init(&attributes), 0);
  CHECK_EQ(posix_spawn_file_actions_adddup2(&actions, pipe, STDIN_FILENO), 0);
  CHECK_EQ(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID), 0);
  std::array<std::string, 4> words = {"sh", "-c", "read -r end; rm -rf -- \"$0\"", path};
  std::array<char*, 5> arguments = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  pid_t shell = -1;
  CHECK_EQ(posix_spawn(&shell, "/bin/sh", &actions, &attributes, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return shell;
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "latentd-bench-XXXXXX").string();
  std::array<int, 2> pipe{};
  CHECK_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  CHECK(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
  shell_ = RemoveAtEndOf(pipe[0], pattern);
  close(pipe[0]);
  held_ = pipe[1];
}

ScratchDirectory::~ScratchDirectory() {
  close(held_);
  while (waitpid(shell_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace latentd

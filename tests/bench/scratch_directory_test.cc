#include "tests/bench/scratch_directory.h"

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

TEST(ScratchDirectory, GoesWithItsObject) {
  std::optional<ScratchDirectory> scratch(std::in_place);
  const fs::path path = scratch->path();
  WriteFile(path / "weights", "some");
  EXPECT_TRUE(fs::exists(path / "weights"));
  scratch.reset();
  EXPECT_FALSE(fs::exists(path));
}

// It holds the pipe, too, and so does what removes the directory: its end is the end of both.
[[noreturn]] void UseUntilKilled(int pipe) {
  const ScratchDirectory scratch;
  const std::string path = scratch.path().string();
  WriteFile(scratch.path() / "weights", "some");
  if (write(pipe, path.data(), path.size()) != static_cast<ssize_t>(path.size())) _exit(1);
  while (true) pause();
}

TEST(ScratchDirectory, GoesWithAProcessThatIsKilled) {
  for (const int signal : {SIGKILL, SIGTERM, SIGINT}) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const pid_t user = fork();
    ASSERT_GE(user, 0);
    if (user == 0) UseUntilKilled(pipe[1]);
    close(pipe[1]);
    std::array<char, 4096> told{};
    const ssize_t size = read(pipe[0], told.data(), told.size());
    ASSERT_GT(size, 0);
    const fs::path path(std::string(told.data(), static_cast<size_t>(size)));
    EXPECT_TRUE(fs::exists(path / "weights"));
    ASSERT_EQ(kill(user, signal), 0);
    EXPECT_EQ(read(pipe[0], told.data(), told.size()), 0);
    EXPECT_FALSE(fs::exists(path)) << signal;
    close(pipe[0]);
    EXPECT_EQ(waitpid(user, nullptr, 0), user);
  }
}

}  // namespace
}  // namespace latentd

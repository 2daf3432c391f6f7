#include "server/process/standard_error.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latentd {
namespace {

// A deadline that is set meanwhile is seen so late at most.
constexpr std::chrono::milliseconds kLongestPoll{50};

mode_t Mode() {
  struct stat facts {};
  return fstat(STDERR_FILENO, &facts) == 0 ? facts.st_mode : 0;
}

// O_NONBLOCK on the descriptor itself would be everybody's who has it. Files are left alone: an opening of our own
// would have a position of its own, and they never wait.
int OpenAgain(bool is_terminal) {
  if (!is_terminal && !S_ISFIFO(Mode())) return -1;
  return open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

}  // namespace

StandardError::StandardError()
    : is_terminal_(isatty(STDERR_FILENO) != 0), is_socket_(S_ISSOCK(Mode())), own_(OpenAgain(is_terminal_)) {}

StandardError::~StandardError() {
  if (own_ >= 0) close(own_);
}

// False at the deadline. A pipe has room once it can take PIPE_BUF bytes.
bool StandardError::AwaitRoom() const {
  pollfd stream = {.fd = own_ >= 0 ? own_ : STDERR_FILENO, .events = POLLOUT, .revents = 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_.load() - std::chrono::steady_clock::now());
    const auto wait = std::clamp(left, std::chrono::milliseconds(0), kLongestPoll);
    if (poll(&stream, 1, static_cast<int>(wait.count())) > 0) return true;
    if (left.count() <= 0) return false;
  }
}

bool StandardError::Write(std::string_view text) {
  const std::lock_guard lock(mutex_);
  while (!text.empty()) {
    if (!AwaitRoom()) return false;
    const size_t size = std::min<size_t>(text.size(), PIPE_BUF);
    const ssize_t count = is_socket_ ? send(STDERR_FILENO, text.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                     : write(own_ >= 0 ? own_ : STDERR_FILENO, text.data(), size);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  return true;
}

}  // namespace latentd

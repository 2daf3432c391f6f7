// Standard error for a process that must not wait for its reader: a pipe that is not emptied, a terminal that is
// stopped. Any thread; one at a time writes.
#pragma once

#include <atomic>
#include <mutex>
#include <string_view>

#include "base/clock.h"

namespace latentd {

class StandardError {
 public:
  StandardError();
  StandardError(const StandardError&) = delete;
  StandardError& operator=(const StandardError&) = delete;
  ~StandardError();

  // All of it, unless the deadline passes first: then false, and the rest is lost.
  bool Write(std::string_view text);
  // For writes to come and the one that is waiting. Never, to begin with.
  void SetDeadline(TimePoint deadline) { deadline_ = deadline; }

  bool is_terminal() const { return is_terminal_; }

 private:
  bool AwaitRoom() const;

  const bool is_terminal_;
  const bool is_socket_;
  const int own_;  // what we opened ourselves, so as to write without waiting: -1 where that cannot be
  std::atomic<TimePoint> deadline_{kNever};
  std::mutex mutex_;
};

}  // namespace latentd

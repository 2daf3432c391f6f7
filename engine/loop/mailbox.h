// One letter between threads: senders merge into it, one taker empties it. Only the taker waits. Its bound is the
// Content's: a sender's merge may refuse, and entries that belong together join.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace latentd {

// Content is default-constructed empty and has `bool empty() const`.
template <class Content>
class Mailbox {
 public:
  // Runs `merge(Content&)` under the lock, wakes the taker and hands back what merge returned.
  template <class Function>
  auto Merge(const Function& merge) {
    std::lock_guard lock(mutex_);
    // While locked, because the taker may destroy the mailbox as soon as it can see what was merged.
    changed_.notify_one();
    return merge(content_);
  }

  // Runs `function()` under the lock, for what its owner guards with it.
  template <class Function>
  auto Locked(const Function& function) const {
    std::lock_guard lock(mutex_);
    return function();
  }

  // After this Await no longer waits.
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_one();
  }

  // All there is, perhaps nothing; never waits.
  Content Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(content_, {});
  }

  // Waits until there is something and swaps it with `content`, which is empty: its memory is for what comes next.
  // False once closed and empty.
  bool Await(Content& content) {
    CHECK(content.empty());
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !content_.empty(); });
    if (content_.empty()) return false;
    std::swap(content_, content);
    return true;
  }

  // Waits until there is something to take, the mailbox is closed or `timeout` passed.
  void WaitFor(Duration timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return closed_ || !content_.empty(); });
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Content content_{};
  bool closed_ = false;
};

}  // namespace latentd

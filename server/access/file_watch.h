// Looks at files on a thread of its own, a few times a second. Ends with this object; what it calls outlives it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace latentd {

class FileWatch {
 public:
  static constexpr std::chrono::milliseconds kPeriod{250};

  explicit FileWatch(std::function<void()> look) : look_(std::move(look)), thread_([this] { Run(); }) {}
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;
  ~FileWatch() {
    {
      std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!ended_.wait_for(lock, kPeriod, [this] { return is_over_; })) {
      lock.unlock();
      look_();
      lock.lock();
    }
  }

  const std::function<void()> look_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool is_over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace latentd

#include "base/thread_pool.h"

#include <csignal>
#include <system_error>

#include <hwy/cache_control.h>

#include "base/check.h"
#include "base/signal_mask.h"

namespace latentd {
namespace {

// About the time between two regions of a step. Longer spinning would take a core from other threads.
constexpr int kSpins = 4000;
constexpr int kClosed = 1 << 30;

void AwaitChange(const std::atomic<int>& value, int old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    hwy::Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : inside_(kClosed) {
  CHECK_GE(num_threads, 1);
  // Signals are for the thread that made the pool: a new thread inherits what its maker blocks.
  const sigset_t before = BlockSignalsButFaults();
  try {
    for (int thread = 1; thread < num_threads; ++thread) threads_.emplace_back([this, thread] { Work(thread); });
  } catch (const std::system_error&) {
    // Fewer threads do the same work; a caller that must have them all looks at num_threads().
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(const void* body, int num_items) {
  body_ = body;
  num_items_ = num_items;
  next_.store(0, std::memory_order_relaxed);
  if (num_items <= 1 || threads_.empty()) return TakeItems(0);
  inside_.store(0, std::memory_order_release);
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();  // a system call only if a thread is parked
  TakeItems(0);
  int inside = inside_.fetch_add(kClosed, std::memory_order_acq_rel) + kClosed;
  for (; inside != kClosed; inside = inside_.load(std::memory_order_acquire)) AwaitChange(inside_, inside);
}

void ThreadPool::TakeItems(int thread) {
  for (int item = 0; (item = next_.fetch_add(1, std::memory_order_relaxed)) < num_items_;) call_(body_, item, thread);
}

// Into the region that is open, if one is.
bool ThreadPool::Enter() {
  int inside = inside_.load(std::memory_order_relaxed);
  while (inside < kClosed) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::Work(int thread) {
  for (int seen = 0;;) {
    AwaitChange(region_, seen);
    seen = region_.load(std::memory_order_acquire);
    if (stop_) return;
    if (!Enter()) continue;
    TakeItems(thread);
    if (inside_.fetch_sub(1, std::memory_order_release) == kClosed + 1) inside_.notify_one();
  }
}

}  // namespace latentd

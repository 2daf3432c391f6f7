#include "kernels/cpu/thread_pool.h"

#include <hwy/cache_control.h>

#include "kernels/check.h"

namespace latentd {
namespace {

// About the time between two regions of a step. Longer spinning would take a core from whoever else needs it.
constexpr int kSpins = 4000;

void AwaitChange(const std::atomic<int>& value, int old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    hwy::Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  CHECK_GE(num_threads, 1);
  for (int thread = 1; thread < num_threads; ++thread) threads_.emplace_back([this, thread] { Work(thread); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  Publish();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(const void* body, int num_items) {
  body_ = body;
  num_items_ = num_items;
  next_.store(0, std::memory_order_relaxed);
  if (num_items <= 1 || threads_.empty()) return TakeItems(0);
  busy_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  Publish();
  TakeItems(0);
  for (int left = 0; (left = busy_.load(std::memory_order_acquire)) != 0;) AwaitChange(busy_, left);
}

void ThreadPool::Publish() {
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();  // a system call only if somebody is parked
}

void ThreadPool::TakeItems(int thread) {
  for (int item = 0; (item = next_.fetch_add(1, std::memory_order_relaxed)) < num_items_;) call_(body_, item, thread);
}

void ThreadPool::Work(int thread) {
  for (int seen = 0;; ++seen) {
    while (generation_.load(std::memory_order_acquire) == seen) AwaitChange(generation_, seen);
    if (stop_) return;
    TakeItems(thread);
    if (busy_.fetch_sub(1, std::memory_order_release) == 1) busy_.notify_one();
  }
}

}  // namespace latentd

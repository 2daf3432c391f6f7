// A fixed set of threads for parallel regions: ForEach deals item numbers from one counter; the caller takes part.
// Waiting spins for some microseconds, then parks. One region at a time, started by one thread (the engine's).
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace latentd {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // counts the caller
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(item, thread) for every item < num_items; thread < num_threads() names the executing thread's scratch
  // memory. Returns when all are done.
  template <class Body>
  void ForEach(int num_items, const Body& body) {
    call_ = [](const void* b, int item, int thread) { (*static_cast<const Body*>(b))(item, thread); };
    Run(&body, num_items);
  }

 private:
  void Run(const void* body, int num_items);
  void Publish();
  void TakeItems(int thread);
  void Work(int thread);

  std::vector<std::thread> threads_;

  // Written by the caller before Publish, read by the workers after it.
  void (*call_)(const void*, int, int) = nullptr;
  const void* body_ = nullptr;
  int num_items_ = 0;

  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<int> generation_{0};
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> busy_{0};
};

}  // namespace latentd

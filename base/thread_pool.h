// A fixed set of threads for parallel regions: ForEach deals item numbers from one counter; the caller takes part.
// A region is over when all items are done, not when all threads have seen it: the caller closes it and waits only for
// threads that are inside. So a thread that sleeps, or whose core is busy elsewhere, never delays a short region.
// One region at a time, started by one thread (the engine's).
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace latentd {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // counts the caller; fewer where the system gives no more
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
  void TakeItems(int thread);
  bool Enter();
  void Work(int thread);

  std::vector<std::thread> threads_;

  // Written by the caller while the region is closed, read by threads inside.
  void (*call_)(const void*, int, int) = nullptr;
  const void* body_ = nullptr;
  int num_items_ = 0;

  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<int> region_{0};  // counts regions; waiting threads watch it
  alignas(64) std::atomic<int> inside_{0};  // threads inside, plus kClosed while none may enter
  alignas(64) std::atomic<int> next_{0};    // the next item
};

}  // namespace latentd

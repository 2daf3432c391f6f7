// A fixed set of threads for parallel regions: ForEach deals each thread an equal stretch of the items, the same one in
// every region of so many items, so that a thread finds what it reads in its own caches and memory; a thread that is
// done with its own takes what others have left. The caller takes part as thread 0.
// A region is over when all items are done, not when all threads have seen it: the caller closes it and waits only for
// threads that are inside. So a thread that sleeps, or whose core is busy elsewhere, never delays a short region.
// Between regions a thread watches for the next one for kLongestSpin at most, then it parks in the kernel: an idle pool
// takes no CPU time. Threads beyond the processors that affinity and CPU quota grant park at once.
// A thread rests for a while, out of every region, after its core was given to another thread as it watched, or in the
// middle of an item for which the caller then had to wait: beside a busy process the other cores alone are faster. So
// does one that was woken on the caller's core: there the two would only take turns, and the kernel finds it another
// core when it wakes up the next time.
// One region at a time, started by one thread (the engine's).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace latentd {

// Which threads watch before they park: those for which affinity and CPU quota grant a processor, or none.
enum class Spinning : uint8_t { kWhereGranted, kNever };

class ThreadPool {
 public:
  // About the time between two steps of a small model; between two regions of a step it is less.
  static constexpr std::chrono::microseconds kLongestSpin{50};

  // Counts the caller; fewer where the system gives no more.
  explicit ThreadPool(int num_threads, Spinning spinning = Spinning::kWhereGranted)
      : ThreadPool(num_threads, std::vector<int>(), spinning) {}
  // Each thread stays on its processor, the caller from its first region on.
  ThreadPool(int num_threads, std::vector<int> processors, Spinning spinning = Spinning::kWhereGranted);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // The item that a thread most likely takes after `item`, whose operands it may fetch ahead: the next of its stretch.
  // -1: there is none.
  static int NextItem(int item, int num_items) { return item + 1 < num_items ? item + 1 : -1; }

  // Calls body(item, thread) for every item < num_items; thread < num_threads() names the executing thread's scratch
  // memory. Returns when all are done.
  template <class Body>
  void ForEach(int num_items, const Body& body) {
    call_ = [](const void* b, int item, int thread) { (*static_cast<const Body*>(b))(item, thread); };
    Run(&body, num_items);
  }

 private:
  // A thread's stretch of a region's items. With the tag of another region it is whole.
  struct alignas(64) Share {
    std::atomic<uint64_t> taken{0};  // the region's tag | the next item
  };
  using Clock = std::chrono::steady_clock;
  // A worker's own: how long it watches, how it rested last, and how often its core had been taken when it last came
  // back from waiting.
  struct Habits {
    Clock::duration spin{};
    Clock::duration rest{};
    Clock::time_point rested_until{};
    long num_preemptions = 0;
  };

  Clock::duration SpinOf(int thread) const { return thread < num_watching_ ? kLongestSpin : Clock::duration::zero(); }
  void Pin(int thread) const;
  void Run(const void* body, int num_items);
  void Open();
  void TakeItems(int thread);
  int Take(int share, int num_shares);  // the next item of a share, -1: none is left
  bool Enter();
  void Leave(Habits& habits);
  void AwaitEmpty();
  void AwaitRegion(uint32_t seen, Habits& habits);
  void ParkUntilRegion(uint32_t seen);
  Clock::duration TimeAwaited() const;
  bool IsOnCallersCore() const;
  void Rest(Clock::duration lost, Habits& habits);
  void RestUntil(Clock::time_point end);
  void Work(int thread);

  std::vector<std::thread> threads_;
  std::vector<Share> shares_;  // one for each thread
  const int num_watching_;     // the first so many threads watch before they park

  const std::vector<int> processors_;  // of each thread, or none
  std::thread::id pinned_caller_;      // the caller's own

  // Written by the caller while the region is closed, read by threads inside.
  void (*call_)(const void*, int, int) = nullptr;
  const void* body_ = nullptr;
  int num_items_ = 0;
  uint64_t tag_ = ~uint64_t{0} << 33;  // of the region in shares; begins anew after the second region

  // For threads inside that see kAwaited: when the region began, and when the caller had done what it could.
  Clock::time_point opened_;
  Clock::time_point closed_;

  std::atomic<uint32_t> stop_{0};                // threads that rest are parked on it
  alignas(64) std::atomic<uint32_t> region_{0};  // counts regions; threads that wait watch it, or park on it
  alignas(64) std::atomic<int> callers_core_{-1};
  std::atomic<int> num_parked_{0};               // workers that are parked, or about to be
  alignas(64) std::atomic<uint32_t> inside_{0};  // threads inside, plus kClosed while none may enter, and kAwaited
};

}  // namespace latentd

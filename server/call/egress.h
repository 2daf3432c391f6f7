// The few threads that write and end answers. A stream belongs to one of them, so its own steps never overlap.
//
// A step of the engine gives every stream something to write, so it wakes each thread that has one: most of what a few
// streams cost is such wake-ups. So the first threads are filled before the next one gets any stream, and once all are
// full, the least loaded is chosen. Measured with 16 streams on one of two threads instead of 8 on each: 29 instead of
// 41 us of CPU per token on one connection, 46 instead of 60 us on 16 (egress_bench, 2 cores, steps of 5 ms).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace latentd {

// A slot is attached first, then woken as often as there is something to write, and Done ends it.
class Egress {
 public:
  // So many streams make a thread full: their writes of one step take it about a millisecond.
  static constexpr size_t kFullThread = 32;

  // One stream's place. Its owner keeps it alive until `release` runs, which is the last thing to happen.
  struct Slot {
    std::function<void()> pump;     // does whatever can be done now
    std::function<void()> release;  // destroys the owner, this slot included

   private:
    friend class Egress;
    size_t thread = 0;
    bool is_queued = false;
    bool is_done = false;
    TimePoint alarm = kNever;
  };

  // `patience`: how long a client may leave what was written for it unread.
  explicit Egress(int num_threads, Duration patience = std::chrono::seconds(30));
  ~Egress();  // waits until every slot was released

  void Attach(Slot& slot);
  // Any thread, never blocks: the slot's pump runs soon. Several calls may become one.
  void Wake(Slot& slot);
  // The same, but not before `when`; an earlier call is forgotten.
  void WakeAt(Slot& slot, TimePoint when);
  // The last call, once no thread wakes the slot any more. No pump follows the release.
  void Done(Slot& slot);

  // Whatever is still attached is ended for this server's sake from now on, not for its client's. Any thread.
  void CutShort() { is_cut_short_ = true; }
  bool is_cut_short() const { return is_cut_short_; }

  Duration patience() const { return patience_; }
  size_t num_attached() const;
  // True once no slot is attached; false at the deadline.
  bool AwaitEmpty(TimePoint deadline);

 private:
  struct Turn {
    Slot* slot;
    bool is_last;  // Done was called before it was taken
  };
  struct Thread {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Slot*> queue;
    std::set<std::pair<TimePoint, Slot*>> alarms;
    bool closed = false;
    std::thread thread;
  };

  void Run(Thread& thread);
  static void TakeTurns(Thread& thread, std::vector<Turn>* turns);
  static void Enqueue(Thread& thread, Slot& slot);
  static void RingAlarms(Thread& thread, TimePoint now);
  size_t ChooseThread() const;
  void Release(Slot& slot);

  const Duration patience_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::atomic<bool> is_cut_short_ = false;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable emptied_;
  size_t num_attached_ = 0;
  std::vector<size_t> num_slots_;  // of each thread
};

}  // namespace latentd

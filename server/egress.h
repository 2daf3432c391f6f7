// The few threads that call StartWrite and Finish. A stream belongs to one of them, so its own steps never overlap, and
// one slow connection delays only the streams that share its thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "engine/clock.h"

namespace latentd {

class Egress {
 public:
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

  explicit Egress(int num_threads);
  ~Egress();  // waits until every slot was released

  void Attach(Slot& slot);
  // Any thread, never blocks: the slot's pump runs soon. Several calls may become one.
  void Wake(Slot& slot);
  // The same, but not before `when`; an earlier call is forgotten.
  void WakeAt(Slot& slot, TimePoint when);
  // The last call: whoever could wake the slot no longer does. No pump follows the release.
  void Done(Slot& slot);

  size_t num_attached() const;
  // True once no slot is attached; false at the deadline.
  bool AwaitEmpty(TimePoint deadline);

 private:
  struct Thread {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Slot*> queue;
    std::set<std::pair<TimePoint, Slot*>> alarms;
    bool closed = false;
    std::thread thread;
  };

  void Run(Thread& thread);
  static void Enqueue(Thread& thread, Slot& slot);
  static void RingAlarms(Thread& thread, TimePoint now);
  void Release(Slot& slot);

  std::vector<std::unique_ptr<Thread>> threads_;

  mutable std::mutex mutex_;  // guards the two below
  std::condition_variable emptied_;
  size_t num_attached_ = 0;
  size_t next_thread_ = 0;
};

}  // namespace latentd

// Threads for whatever is heavier than a queue operation: parsing, validation, templates, tokenising, the making of
// large answers. gRPC's threads only hand over. Owned by Serve(); every method may be called by any thread.
//
// Peers take turns (fair_queue.h). A large job never occupies all threads: the first one takes small jobs only, so a
// small job waits for small ones and nothing else. The others take small and large jobs by turns, at a low priority, so
// that the threads that compute and write answers go first.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "server/call/fair_queue.h"
#include "server/net/peer.h"

namespace latentd {

struct WorkPoolOptions {
  int num_threads = 2;     // at least 2
  size_t max_jobs = 4096;  // of each size that wait; their bytes are the Intake's to bound
};

// Half of the processors, but 2 to 8.
int WorkThreads(int num_processors);

class WorkPool {
 public:
  // Size of a job's input. Text of this size is tokenised in some 20 ms at worst.
  static constexpr size_t kLargeJobBytes = 32 << 10;

  struct Job {
    Peer peer;
    size_t num_bytes = 0;
    std::function<void()> run;
    std::function<void()> displaced = {};  // instead, where too many wait and its peer has most of them
  };
  // Names a job, for Withdraw.
  struct Ticket {
    Peer peer;
    uint64_t id = 0;
    bool is_large = false;
  };

  explicit WorkPool(const WorkPoolOptions& options);
  // Runs what still waits.
  ~WorkPool();

  // Nothing where too many wait, and no peer has more of them: the job will not run.
  std::optional<Ticket> Submit(Job job);
  // True where the job had not begun: it never will. False: it ran, or is running.
  bool Withdraw(const Ticket& ticket);

  size_t num_waiting() const;

 private:
  struct Waiting {
    uint64_t id = 0;
    std::function<void()> run, displaced;
  };
  enum class Takes : uint8_t { kSmall, kAll };

  void Run(Takes takes);
  // Waits for a job; nothing once the pool closes and no job that this thread takes is left.
  std::function<void()> Next(Takes takes);
  bool HasWork(Takes takes) const;
  std::optional<Waiting> Pop(Takes takes);

  const WorkPoolOptions options_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable small_changed_, all_changed_;
  FairQueue<Waiting> small_, large_;
  uint64_t last_id_ = 0;
  bool is_first_idle_ = false;    // the thread that takes small jobs only; not woken yet
  bool is_turn_of_large_ = true;  // of the other threads
  bool is_closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace latentd

// The Publisher on a thread of its own, which sends what follows for the engine into the inbox. Its outbox takes
// whatever comes, so the engine never waits for it.
//
// Start comes once, before or after the first Publish, and Stop before the inbox goes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engine/loop/inbox.h"
#include "engine/loop/outbox.h"
#include "engine/step/step_output.h"
#include "engine/stream/publisher.h"

namespace latentd {

class PublisherThread {
 public:
  // Publisher's.
  PublisherThread(const Tokenizer* tokenizer, Metrics& metrics) : publisher_(tokenizer, metrics) {}
  ~PublisherThread() { Stop(); }

  // Starts the thread; from then to Stop it applies the effects to `inbox`.
  void Start(Inbox& inbox);
  // Publishes what is left, then joins.
  void Stop();

  // One caller at a time. Publishes what a turn gave, the openings before the output. `output` becomes an earlier one
  // that was published, for its memory.
  void Publish(std::vector<StreamOpening>& opened, StepOutput& output) { outbox_.Put(opened, output); }

  // Any thread. Waits until so many streams, counted from the start, got their end; false where `timeout` passed
  // before.
  bool AwaitEnds(uint64_t num_ends, Duration timeout);

 private:
  void Run(Inbox& inbox);
  void CountEnds(uint64_t num_ends);

  Publisher publisher_;  // publisher thread only
  Outbox outbox_;

  std::mutex ends_mutex_;
  std::condition_variable ends_changed_;
  uint64_t num_ends_ = 0;  // guarded by ends_mutex_

  std::thread thread_;
};

}  // namespace latentd

// The prefix cache's events for readers on other threads: front ends that tell routers. A reader gets each event from a
// number on once, in order; where it comes too late for some, it is told so in their place. The engine never waits for
// a reader: it overwrites the oldest events and goes on. The EngineThread owns the stream; its readers must go first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "engine/schedule/kv_events.h"

namespace latentd {

// Called once by the engine thread with what kv_snapshot.h makes: must neither block nor call the engine.
using KvSnapshotListener = std::function<void(std::vector<KvEvent> snapshot)>;

class KvEventReader;

class KvEventStream {
 public:
  // `events` must outlive it.
  explicit KvEventStream(const KvEvents& events) : events_(events) {}

  // Where a reader begins that asks for event `from`: there; with event 1 where it asks for 0, or for one that is still
  // to come: it has its number from an earlier process.
  uint64_t BeginFor(uint64_t from) const { return from <= events_.next_number() ? std::max<uint64_t>(from, 1) : 1; }
  // Whether that event and all behind it can still be read.
  bool Holds(uint64_t begin) const { return events_.Holds(begin); }
  // The writer's thread, between two turns: wakes the readers where the last turn recorded something.
  void Tell();

 private:
  friend class KvEventReader;

  const KvEvents& events_;
  std::mutex mutex_;                     // held while readers are woken
  std::vector<KvEventReader*> readers_;  // guarded by mutex_
  uint64_t next_to_tell_ = 1;            // of Tell alone
};

// One caller at a time, on any thread.
class KvEventReader {
 public:
  // Begins with event BeginFor(from). `wake` is called after a turn with events: it must not wait, nor make or destroy
  // a reader. None is called once the destructor has returned.
  KvEventReader(KvEventStream& stream, uint64_t from, std::function<void()> wake);
  KvEventReader(const KvEventReader&) = delete;
  KvEventReader& operator=(const KvEventReader&) = delete;
  ~KvEventReader();

  // The next ones, at most `most`, none where it has had all. Where some were overwritten before, one kCleared in their
  // place comes first, with the last one's number: what was known until then may be wrong, what follows is right.
  std::vector<KvEvent> Take(size_t most);
  uint64_t num_missed() const { return num_missed_; }  // since the first one it was to get

 private:
  friend class KvEventStream;

  KvEventStream& stream_;
  const std::function<void()> wake_;
  uint64_t next_;
  uint64_t num_missed_ = 0;
};

}  // namespace latentd

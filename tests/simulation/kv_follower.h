// A router in the world: it knows the prefix cache by its events alone, as production's readers get them, and must know
// after every event of the world what the scheduler's index can find.
#pragma once

#include <cstdint>
#include <map>

#include "engine/loop/kv_event_stream.h"
#include "engine/schedule/scheduler.h"

namespace latentd::simulation {

class KvFollower {
 public:
  // The scheduler must outlive it.
  explicit KvFollower(const Scheduler& scheduler);

  // Reads what was recorded since the last call, and compares.
  void Check();
  uint64_t num_read() const { return next_ - 1; }

 private:
  void CheckSnapshot() const;
  void Learn(const KvEvent& event);
  void Forget(const BlockHash& hash);

  const Scheduler& scheduler_;
  const bool has_hashes_;  // each block has one of its own
  KvEventStream stream_;
  bool is_woken_ = false;
  KvEventReader reader_;
  uint64_t next_ = 1;
  uint64_t num_checks_ = 0;
  std::map<BlockHash, int> known_;  // how many blocks have the hash
};

}  // namespace latentd::simulation

#include "tests/simulation/kv_follower.h"

#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "engine/schedule/kv_snapshot.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

constexpr uint64_t kChecksForSnapshot = 50;
constexpr size_t kMostAtOnce = 7;  // few, so that it reads on where it stopped

}  // namespace

KvFollower::KvFollower(const Scheduler& scheduler)
    : scheduler_(scheduler),
      has_hashes_(scheduler.options().cache.hash_mask == ~uint64_t{0}),
      stream_(scheduler.kv_events()),
      reader_(stream_, 1, [this] { is_woken_ = true; }) {}

void KvFollower::Check() {
  stream_.Tell();
  if (std::exchange(is_woken_, false)) {
    for (std::vector<KvEvent> events = reader_.Take(kMostAtOnce); !events.empty(); events = reader_.Take(kMostAtOnce)) {
      for (const KvEvent& event : events) Learn(event);
    }
  }
  std::map<BlockHash, int> findable;
  scheduler_.cache().ForEachTold([&findable](const BlockHash& hash) { ++findable[hash]; });
  Require(known_ == findable, Rule::kEvents, [&] {
    return absl::StrFormat("event %d: %d hashes are known by events, %d can be found, or others", next_ - 1,
                           known_.size(), findable.size());
  });
  if (++num_checks_ % kChecksForSnapshot == 0) CheckSnapshot();
}

// One that asks for all there is knows the same.
void KvFollower::CheckSnapshot() const {
  std::map<BlockHash, int> known;
  const std::vector<KvEvent> snapshot = KvSnapshot(scheduler_);
  for (const KvEvent& event : snapshot) {
    Require(&event == &snapshot.front() ? event.kind == KvEvent::Kind::kCleared
                                        : !event.parent || known.contains(*event.parent),
            Rule::kEvents,
            [] { return "a snapshot does not begin anew, or stores a block beneath one that is not known"; });
    const BlockHash before = event.parent ? *event.parent : RootHash(event.salt);
    if (event.kind != KvEvent::Kind::kStored) continue;
    Require(!has_hashes_ || event.hash == ChainHash(before, event.token_ids), Rule::kEvents,
            [] { return "a hash of a snapshot is not that of its block's tokens"; });
    ++known[event.hash];
  }
  Require(known == known_ && snapshot.back().number + 1 == next_, Rule::kEvents,
          [] { return "a snapshot has other blocks than the events"; });
}

void KvFollower::Learn(const KvEvent& event) {
  Require(event.number == next_++, Rule::kEvents,
          [&] { return absl::StrFormat("event %d follows event %d", event.number, next_ - 2); });
  if (event.kind == KvEvent::Kind::kCleared) return known_.clear();
  if (event.kind == KvEvent::Kind::kRemoved) return Forget(event.hash);
  Require(!event.parent || known_.contains(*event.parent), Rule::kEvents,
          [&] { return absl::StrFormat("event %d stores a block beneath one that is not known", event.number); });
  const BlockHash before = event.parent ? *event.parent : RootHash(event.salt);
  Require(!has_hashes_ || event.hash == ChainHash(before, event.token_ids), Rule::kEvents,
          [&] { return absl::StrFormat("event %d: its hash is not that of its tokens", event.number); });
  const int count = ++known_[event.hash];
  Require(!has_hashes_ || count == 1, Rule::kEvents,
          [&] { return absl::StrFormat("event %d stores a block that is known", event.number); });
}

void KvFollower::Forget(const BlockHash& hash) {
  const auto found = known_.find(hash);
  Require(found != known_.end(), Rule::kEvents,
          [&] { return absl::StrFormat("event %d removes a block that is not known", next_ - 1); });
  if (--found->second == 0) known_.erase(found);
}

}  // namespace latentd::simulation

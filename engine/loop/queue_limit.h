// How much may wait for its first step, of all requests or of one tenant's, and when to come back where that is too
// much. Owned by the Door.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace latentd {

struct QueueLoad {
  int64_t requests = 0;
  int64_t tokens = 0;  // of their prompts
};

enum class RefusalCause : uint8_t { kQueueFull, kQueueTokens, kTenantQuota, kSloUnattainable, kDraining, kNeverFits };

// Why a request was not taken in.
struct Refusal {
  RefusalCause cause = RefusalCause::kQueueFull;
  std::string message = {};
  Duration retry_after = {};  // for the first four: when there should be a place for it
};

// A smoothed count per second: what happened long ago counts for less.
class RecentRate {
 public:
  void Add(int64_t count, TimePoint now);
  double PerSecond(TimePoint now) const;  // 0 where nothing happened so far

 private:
  double weighted_count_ = 0.0;  // at last_
  TimePoint first_ = kNever;
  TimePoint last_ = kNever;
};

class QueueLimit {
 public:
  // `most` of both that may wait. A prompt of more tokens than that still enters an empty queue. Messages begin with
  // `name`.
  QueueLimit(const QueueLoad& most, std::string name) : most_(most), name_(std::move(name)) {}

  // Nothing where there is a place: then Enter may take it.
  std::optional<Refusal> Refuse(int64_t prompt_tokens, TimePoint now);
  void Enter(int64_t prompt_tokens);
  void Leave(const QueueLoad& left, TimePoint now);

  const QueueLoad& waiting() const { return waiting_; }

 private:
  Duration TimeFor(double count, const RecentRate& rate, TimePoint now) const;

  const QueueLoad most_;
  const std::string name_;
  QueueLoad waiting_;
  RecentRate requests_left_;
  RecentRate tokens_left_;
  // Rejected and not yet admitted since: the next one is told to come after them.
  QueueLoad sent_away_;
};

}  // namespace latentd

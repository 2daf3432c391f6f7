// Who goes before whom, among sequences that wait and those that run: one total order at each moment.
//
//   1. Class: the priority, raised by one for each `ageing` since the request was received, at most to the highest
//      priority that waits. Up there it is one of equals: the next lines decide, not its age.
//   2. Tenant: the one with the least virtual service.
//   3. Within a tenant: first what ageing has raised, the oldest first. Then what has to start within kUrgency to meet
//      its deadline, by the latest moment to start it; then by virtual start, which a prompt's length puts off; then by
//      arrival. A deadline far ahead says nothing: most clients set one with each call, and an order by these would be
//      that of arrival, with short prompts stuck behind long ones.
//
// Ageing is bounded by that highest priority because requests of equal priority have no use for it: with it, whatever
// waited for longer than `ageing` would go before all that came later, and one client's backlog before all others.
//
// Bounds. A request r of priority p waits at most (p_max - p) * ageing longer than r', alike but of the highest
// priority p_max, that came when it did: after that time r has the class of r' and the same tenant, and ranks before
// it within that one; so what goes before r from then on would go before r', too. A long prompt waits at most
// kAgeCredit * tokens / rate longer than a request without prompt of its tenant that came when it did: but for those
// with deadlines, only what arrives before its virtual start can go before it.
#pragma once

#include <cstdint>
#include <limits>

#include "base/clock.h"
#include "engine/request.h"

namespace latentd {

struct Sequence;
struct Tenant;

inline constexpr TimePoint kTooLate = TimePoint::min();

// A sequence's place in the order. What stands here stays as it is while the sequence waits.
struct Standing {
  Sequence* sequence = nullptr;  // whose it is
  Tenant* tenant = nullptr;
  int priority = 0;                   // capped by the tenant's
  TimePoint received{};               // ageing counts from here
  uint64_t arrival = 0;               // among all requests
  int32_t index = 0;                  // among its request's sequences: the last thing that tells two apart
  TimePoint latest_start = kTooLate;  // to meet its deadline; kTooLate where it has none
  TimePoint virtual_start{};

  // The last two, from what is known when it begins to wait.
  struct Work {
    int64_t prompt_tokens = 0;       // to compute
    double tokens_per_second = 0.0;  // as measured; 0: not yet, and no prompt counts as long
    TimePoint due = kNever;          // its first token, or its end
  };
  void SetStarts(const Work& work);
};
// An estimate of a prefill: below the first it may be wrong by as much as it says, above the last it is cut.
inline constexpr double kLeastJudgedSeconds = 0.1, kLongestPrefillSeconds = 1e6;
// Seconds of waiting that make up for one second of prefill.
inline constexpr double kAgeCredit = 4.0;
inline constexpr Duration kUrgency = std::chrono::seconds(1);

// What the order depends on beside the sequences.
struct RankingMoment {
  TimePoint now{};
  Duration ageing = std::chrono::seconds(10);
  int highest_priority = kLowestPriority;  // that waits
};

int ClassOf(const Standing& standing, const RankingMoment& moment);
// Its deadline can be met, but not for much longer.
bool IsUrgent(const Standing& standing, TimePoint now);
// Exactly one of two different sequences ranks before the other.
bool RanksBefore(const Standing& a, const Standing& b, const RankingMoment& moment);

// A sequence that could give up its place, and what would have to be computed again.
struct Loss {
  const Standing& standing;
  int64_t num_tokens = 0;
};
// By class and tenant the one that ranks behind; of equals the one that loses less, then the one that ranks behind.
bool LosesFirst(const Loss& a, const Loss& b, const RankingMoment& moment);

}  // namespace latentd

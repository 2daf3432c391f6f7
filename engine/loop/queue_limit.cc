#include "engine/loop/queue_limit.h"

#include <algorithm>
#include <cmath>

#include <absl/strings/str_format.h>

#include "base/check.h"

namespace latentd {
namespace {

// Departures older than this hardly count: long enough to see several requests of ten seconds, short enough to notice
// that the load changed.
constexpr double kMemorySeconds = 10.0;

// Bounds of the advice when to come back, whatever the estimate says.
constexpr double kSoonestSeconds = 0.1;
constexpr double kLatestSeconds = 60.0;
constexpr double kSecondsWithoutRecord = 1.0;  // nothing has left the queue so far, so nothing is known
static_assert(kSoonestSeconds <= kSecondsWithoutRecord && kSecondsWithoutRecord <= kLatestSeconds);

}  // namespace

void RecentRate::Add(int64_t count, TimePoint now) {
  if (first_ == kNever) first_ = last_ = now;
  weighted_count_ = weighted_count_ * std::exp(-Seconds(now - last_) / kMemorySeconds) + static_cast<double>(count);
  last_ = now;
}

double RecentRate::PerSecond(TimePoint now) const {
  if (first_ == kNever) return 0.0;
  const double weight_now = weighted_count_ * std::exp(-Seconds(now - last_) / kMemorySeconds);
  // The weights of all seconds since the first count; a short record is no slow one.
  const double seconds = std::max(Seconds(now - first_), kSoonestSeconds);
  return weight_now / (kMemorySeconds * (1.0 - std::exp(-seconds / kMemorySeconds)));
}

std::optional<Refusal> QueueLimit::Refuse(int64_t prompt_tokens, TimePoint now) {
  if (waiting_.requests >= most_.requests) {
    ++sent_away_.requests;
    const Duration wait = TimeFor(static_cast<double>(sent_away_.requests), requests_left_, now);
    return Refusal{.cause = RefusalCause::kQueueFull,
                   .message = absl::StrFormat("%s holds max-queued-requests=%d requests; retry in %.1f s", name_,
                                              most_.requests, Seconds(wait)),
                   .retry_after = wait};
  }
  if (waiting_.requests > 0 && waiting_.tokens + prompt_tokens > most_.tokens) {
    sent_away_.tokens += prompt_tokens;
    const Duration wait =
        TimeFor(static_cast<double>(waiting_.tokens + sent_away_.tokens - most_.tokens), tokens_left_, now);
    return Refusal{.cause = RefusalCause::kQueueTokens,
                   .message = absl::StrFormat("%s holds %d prompt tokens and %d more would pass max-queued-tokens=%d; "
                                              "retry in %.1f s or send a shorter prompt",
                                              name_, waiting_.tokens, prompt_tokens, most_.tokens, Seconds(wait)),
                   .retry_after = wait};
  }
  return std::nullopt;
}

void QueueLimit::Enter(int64_t prompt_tokens) {
  ++waiting_.requests;
  waiting_.tokens += prompt_tokens;
}

void QueueLimit::Leave(const QueueLoad& left, TimePoint now) {
  CHECK_LE(left.requests, waiting_.requests);
  CHECK_LE(left.tokens, waiting_.tokens);
  waiting_.requests -= left.requests;
  waiting_.tokens -= left.tokens;
  requests_left_.Add(left.requests, now);
  tokens_left_.Add(left.tokens, now);
  sent_away_.requests = std::max<int64_t>(0, sent_away_.requests - left.requests);
  sent_away_.tokens = std::max<int64_t>(0, sent_away_.tokens - left.tokens);
}

Duration QueueLimit::TimeFor(double count, const RecentRate& rate, TimePoint now) const {
  const double per_second = rate.PerSecond(now);
  const double seconds = per_second > 0.0 ? count / per_second : kSecondsWithoutRecord;
  return FromSeconds(std::clamp(seconds, kSoonestSeconds, kLatestSeconds));
}

}  // namespace latentd

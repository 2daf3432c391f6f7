#include "engine/loop/door.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/check.h"
#include "base/quoting.h"
#include "engine/schedule/rank.h"

namespace latentd {
namespace {

// The measured rate forgets in about this time, so another answer may be had then.
constexpr Duration kRateMemory = std::chrono::seconds(10);

Refusal TooLate(std::string message) {
  return {.cause = RefusalCause::kSloUnattainable, .message = std::move(message), .retry_after = kRateMemory};
}

// What would come too late even if it ran alone from now on. A deadline that has passed is another failure, told as
// such.
std::optional<Refusal> RefuseLate(const Request& request, int64_t num_tokens, double tokens_per_second, TimePoint now) {
  const TimePoint first_token_by = request.scheduling.first_token_by;
  if (first_token_by <= now) {
    return TooLate("its first token was due before its prompt was ready to be computed; allow more time");
  }
  const double seconds = tokens_per_second > 0.0 ? static_cast<double>(num_tokens) / tokens_per_second : 0.0;
  const TimePoint due = std::min(first_token_by, request.deadline);
  if (seconds < kLeastJudgedSeconds || due <= now || due == kNever || Seconds(due - now) >= seconds)
    return std::nullopt;
  return TooLate(
      absl::StrFormat("%s in %.3f s, but its prompt of %d tokens takes %.3f s alone at the measured rate of "
                      "%.0f tokens/s; allow more time or send a shorter prompt",
                      due == first_token_by ? "its first token is due" : "it ends", Seconds(due - now), num_tokens,
                      seconds, tokens_per_second));
}

}  // namespace

std::optional<Refusal> Door::Enter(const Request& request, double tokens_per_second, TimePoint now) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  // Score computes all of its prompt.
  const bool may_be_found = rules_.finds_prompts && request.cache.reads && request.kind == RequestKind::kGenerate;
  if (auto refusal = RefuseLate(request, may_be_found ? 1 : prompt_tokens, tokens_per_second, now)) return refusal;
  const Quotas::iterator quota = QuotaOf(request.scheduling.tenant);
  if (quota != quotas_.end()) {
    if (auto refusal = quota->second.Refuse(prompt_tokens, now)) {
      refusal->cause = RefusalCause::kTenantQuota;
      return refusal;
    }
  }
  if (auto refusal = queue_.Refuse(prompt_tokens, now)) {
    DropIdle(quota);
    return refusal;
  }
  const bool is_new = waiting_.insert({request.id, {.prompt_tokens = prompt_tokens, .quota = quota}}).second;
  CHECK(is_new && "it waits already");
  queue_.Enter(prompt_tokens);
  if (quota != quotas_.end()) quota->second.Enter(prompt_tokens);
  return std::nullopt;
}

void Door::Leave(std::span<const RequestId> requests, TimePoint now) {
  for (const RequestId id : requests) {
    const auto node = waiting_.extract(id);
    CHECK(!node.empty() && "it did not enter, or left before");
    const auto& [prompt_tokens, quota] = node.mapped();
    queue_.Leave({.requests = 1, .tokens = prompt_tokens}, now);
    if (quota == quotas_.end()) continue;
    quota->second.Leave({.requests = 1, .tokens = prompt_tokens}, now);
    DropIdle(quota);
  }
}

Door::Quotas::iterator Door::QuotaOf(std::string_view tenant) {
  const TenantRule& rule = rules_.tenants.Of(tenant);
  if (rule.max_queued_requests == kNoQuota && rule.max_queued_tokens == kNoQuota) return quotas_.end();
  if (const auto found = quotas_.find(tenant); found != quotas_.end()) return found;
  const std::string name = tenant.empty() ? "the tenant without a name" : "tenant " + Quoted(tenant);
  return quotas_
      .emplace(tenant, QueueLimit({.requests = rule.max_queued_requests, .tokens = rule.max_queued_tokens}, name))
      .first;
}

// Names that are not listed are the clients' choice: what is known of one is forgotten where none of its requests
// waits.
void Door::DropIdle(Quotas::iterator quota) {
  if (quota == quotas_.end() || quota->second.waiting().requests > 0) return;
  if (!rules_.tenants.listed.contains(quota->first)) quotas_.erase(quota);
}

}  // namespace latentd

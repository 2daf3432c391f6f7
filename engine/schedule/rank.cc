#include "engine/schedule/rank.h"

#include <algorithm>
#include <tuple>

#include "engine/schedule/tenants.h"

namespace latentd {
namespace {

enum class TenantOrder { kFirst, kSame, kLast };

TenantOrder Compare(const Tenant& a, const Tenant& b) {
  if (a.number == b.number) return TenantOrder::kSame;
  const bool is_first = std::tie(a.service, a.number) < std::tie(b.service, b.number);
  return is_first ? TenantOrder::kFirst : TenantOrder::kLast;
}

}  // namespace

void Standing::SetStarts(const Work& work) {
  const double seconds =
      work.tokens_per_second > 0.0
          ? std::min(static_cast<double>(work.prompt_tokens) / work.tokens_per_second, kLongestPrefillSeconds)
          : 0.0;
  virtual_start = received + FromSeconds(kAgeCredit * seconds);
  latest_start = work.due == kNever ? kTooLate : work.due - FromSeconds(seconds);
}

int ClassOf(const Standing& standing, const RankingMoment& moment) {
  if (standing.priority >= moment.highest_priority || moment.now <= standing.received) return standing.priority;
  const int64_t num_raised = (moment.now - standing.received) / moment.ageing;
  return num_raised >= moment.highest_priority - standing.priority ? moment.highest_priority
                                                                   : standing.priority + static_cast<int>(num_raised);
}

bool IsUrgent(const Standing& standing, TimePoint now) {
  return standing.latest_start >= now && standing.latest_start - now <= kUrgency;
}

bool RanksBefore(const Standing& a, const Standing& b, const RankingMoment& moment) {
  const int class_a = ClassOf(a, moment), class_b = ClassOf(b, moment);
  if (class_a != class_b) return class_a > class_b;
  const TenantOrder order = Compare(*a.tenant, *b.tenant);
  if (order != TenantOrder::kSame) return order == TenantOrder::kFirst;
  const bool is_raised = class_a > a.priority;
  if (is_raised != (class_b > b.priority)) return is_raised;
  if (is_raised) return std::tie(a.received, a.arrival, a.index) < std::tie(b.received, b.arrival, b.index);
  const bool is_urgent = IsUrgent(a, moment.now);
  if (is_urgent != IsUrgent(b, moment.now)) return is_urgent;
  if (is_urgent && a.latest_start != b.latest_start) return a.latest_start < b.latest_start;
  return std::tie(a.virtual_start, a.arrival, a.index) < std::tie(b.virtual_start, b.arrival, b.index);
}

bool LosesFirst(const Loss& a, const Loss& b, const RankingMoment& moment) {
  const int class_a = ClassOf(a.standing, moment), class_b = ClassOf(b.standing, moment);
  if (class_a != class_b) return class_a < class_b;
  const TenantOrder order = Compare(*a.standing.tenant, *b.standing.tenant);
  if (order != TenantOrder::kSame) return order == TenantOrder::kLast;
  if (a.num_tokens != b.num_tokens) return a.num_tokens < b.num_tokens;
  return RanksBefore(b.standing, a.standing, moment);
}

}  // namespace latentd

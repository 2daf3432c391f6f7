// Which requests are taken in: as many as the queue may hold, of each tenant as many as its quotas allow, and none that
// comes too late for what it wants. Owned by the Inbox, whose lock guards it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "engine/loop/queue_limit.h"
#include "engine/request.h"
#include "engine/schedule/tenant_rules.h"

namespace latentd {

struct DoorRules {
  QueueLoad most_queued = {};
  TenantRules tenants = {};
  bool finds_prompts = true;  // a prefix cache may have any prompt already
};

class Door {
 public:
  explicit Door(DoorRules rules) : rules_(std::move(rules)), queue_(rules_.most_queued, "the queue") {}

  // Nothing where the request is in; `tokens_per_second` is the measured rate of prefill, 0 where there is none yet.
  std::optional<Refusal> Enter(const Request& request, double tokens_per_second, TimePoint now);
  // They got their first rows, or ended before. Ids that did not enter are not among them.
  void Leave(std::span<const RequestId> requests, TimePoint now);

  const QueueLoad& waiting() const { return queue_.waiting(); }

 private:
  using Quotas = std::map<std::string, QueueLimit, std::less<>>;

  struct Entered {
    int64_t prompt_tokens;
    Quotas::iterator quota;  // end where its tenant has none
  };

  Quotas::iterator QuotaOf(std::string_view tenant);
  void DropIdle(Quotas::iterator quota);

  const DoorRules rules_;
  QueueLimit queue_;
  Quotas quotas_;  // of tenants that have quotas: the listed ones that ever came, others while they wait
  std::unordered_map<RequestId, Entered> waiting_;
};

}  // namespace latentd

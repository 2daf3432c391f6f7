#include "engine/loop/inbox.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TimePoint At(double seconds) { return TimePoint(FromSeconds(1000.0 + seconds)); }

Submission Submit(RequestId id, const std::string& tenant = "") {
  Request request{.id = id, .scheduling = {.tenant = tenant}};
  request.prompt.assign(100, 1);
  return {.request = std::move(request), .stream = std::make_shared<TokenStream>(nullptr, 1 << 20)};
}

DoorRules Rules() {
  return {.most_queued = {.requests = 10, .tokens = 10'000},
          .tenants = {.listed = {{"a", {.max_queued_requests = 1}}}},
          .finds_prompts = false};
}

TEST(Inbox, WhatLeavesTheQueueGivesItsTenantsPlaceBack) {
  Inbox inbox(Rules());
  EXPECT_FALSE(inbox.Submit(Submit(1, "a"), At(0)));
  EXPECT_EQ(inbox.Submit(Submit(2, "a"), At(0))->cause, RefusalCause::kTenantQuota);
  EXPECT_FALSE(inbox.Submit(Submit(3, "b"), At(0)));
  EXPECT_EQ(inbox.num_submitted(), 2u);
  EXPECT_EQ(inbox.Take().submissions.size(), 2u);
  EXPECT_EQ(inbox.waiting().tokens, 200) << "what the engine took waits there";
  inbox.LeaveQueue(std::vector<RequestId>{1}, At(1));
  EXPECT_EQ(inbox.waiting().requests, 1);
  EXPECT_FALSE(inbox.Submit(Submit(4, "a"), At(1)));
}

TEST(Inbox, TheLastRateDecidesWhatComesTooLate) {
  Inbox inbox(Rules());
  const auto submit = [&inbox](RequestId id) {
    Submission submission = Submit(id);
    submission.request.scheduling.first_token_by = At(1.0);
    return inbox.Submit(std::move(submission), At(0));
  };
  EXPECT_FALSE(submit(1)) << "no rate is known";
  inbox.SetPace(99.0);
  EXPECT_EQ(submit(2)->cause, RefusalCause::kSloUnattainable);
  inbox.SetPace(100.0);
  EXPECT_FALSE(submit(3));
}

}  // namespace
}  // namespace latentd

#include "engine/loop/door.h"

#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

TimePoint At(double seconds) { return TimePoint(FromSeconds(1000.0 + seconds)); }

class DoorTest : public testing::Test {
 protected:
  static Request MakeRequest(RequestId id, const std::string& tenant, int prompt_tokens) {
    Request request{.id = id, .scheduling = {.tenant = tenant}};
    request.prompt.assign(static_cast<size_t>(prompt_tokens), 1);
    return request;
  }
  // Tenant a may have 2 requests, b 100 tokens, others 1 request each, c as much as the queue holds.
  static DoorRules Rules() {
    return {.most_queued = {.requests = 5, .tokens = 1000},
            .tenants = {.of_others = {.max_queued_requests = 1},
                        .listed = {{"a", {.max_queued_requests = 2}}, {"b", {.max_queued_tokens = 100}}, {"c", {}}}}};
  }
  std::optional<Refusal> Enter(RequestId id, const std::string& tenant, int prompt_tokens = 10) {
    return door_.Enter(MakeRequest(id, tenant, prompt_tokens), 0.0, At(0));
  }
  void Leave(std::vector<RequestId> ids, double seconds = 1.0) { door_.Leave(ids, At(seconds)); }

  Door door_{Rules()};
};

TEST_F(DoorTest, ATenantHasSoManyRequestsInTheQueueAndOthersHaveTheirPlaces) {
  EXPECT_FALSE(Enter(1, "a"));
  EXPECT_FALSE(Enter(2, "a"));
  const std::optional<Refusal> refusal = Enter(3, "a");
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kTenantQuota);
  EXPECT_EQ(refusal->message, "tenant 'a' holds max-queued-requests=2 requests; retry in 1.0 s");
  EXPECT_EQ(Seconds(refusal->retry_after), 1.0);
  EXPECT_FALSE(Enter(4, "c"));
  Leave({1});
  EXPECT_FALSE(Enter(5, "a"));
  EXPECT_EQ(door_.waiting().requests, 3);
}

TEST_F(DoorTest, ATenantHasSoManyTokensInTheQueue) {
  EXPECT_FALSE(Enter(1, "b", 150)) << "a prompt of any length enters where none waits";
  const std::optional<Refusal> refusal = Enter(2, "b", 1);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kTenantQuota);
  EXPECT_THAT(refusal->message, HasSubstr("tenant 'b' holds 150 prompt tokens and 1 more would pass max-queued-tokens="
                                          "100; retry in 1.0 s or send a shorter prompt"));
}

TEST_F(DoorTest, RetryFollowsTheRateAtWhichTheTenantsRequestsLeave) {
  EXPECT_FALSE(Enter(1, "a"));
  EXPECT_FALSE(Enter(2, "a"));
  RequestId id = 2;
  double now = 0.0;
  for (int i = 0; i < 200; ++i) {
    now += 0.5;
    Leave({id - 1}, now);
    EXPECT_FALSE(door_.Enter(MakeRequest(++id, "a", 10), 0.0, At(now)));
  }
  EXPECT_NEAR(Seconds(door_.Enter(MakeRequest(++id, "a", 10), 0.0, At(now))->retry_after), 0.5, 0.1);
}

TEST_F(DoorTest, NamesThatAreNotListedHaveAQuotaEach) {
  EXPECT_FALSE(Enter(1, "x"));
  EXPECT_FALSE(Enter(2, "y"));
  EXPECT_FALSE(Enter(3, ""));
  EXPECT_EQ(Enter(4, "x")->cause, RefusalCause::kTenantQuota);
  EXPECT_THAT(Enter(5, "")->message, HasSubstr("the tenant without a name holds max-queued-requests=1"));
  Leave({1});
  EXPECT_FALSE(Enter(6, "x"));
}

TEST_F(DoorTest, TheQueuesOwnBoundHoldsForAll) {
  for (RequestId id = 1; id <= 5; ++id) EXPECT_FALSE(Enter(id, "c"));
  EXPECT_EQ(Enter(6, "c")->cause, RefusalCause::kQueueFull);
  EXPECT_EQ(Enter(7, "a")->cause, RefusalCause::kQueueFull);
  EXPECT_EQ(Enter(8, "x")->cause, RefusalCause::kQueueFull);
  Leave({1, 2, 3, 4, 5});
  EXPECT_FALSE(Enter(9, "x")) << "a refused request takes no part of its tenant's quota";
  EXPECT_EQ(Enter(10, "c", 2000)->cause, RefusalCause::kQueueTokens);
}

class DoorInTime : public DoorTest {
 protected:
  // A prompt of 100 tokens, which takes 2 s.
  Request Due(TimePoint first_token_by, TimePoint deadline = kNever) {
    Request request = MakeRequest(++id_, "c", 100);
    request.scheduling.first_token_by = first_token_by;
    request.deadline = deadline;
    request.cache.reads = false;
    return request;
  }
  std::optional<Refusal> Enter(const Request& request) { return door_.Enter(request, 50.0, At(0)); }

 private:
  RequestId id_ = 0;
};

TEST_F(DoorInTime, WhatCannotMeetItsFirstTokenAloneIsRefused) {
  EXPECT_FALSE(Enter(Due(At(2.0))));
  const std::optional<Refusal> refusal = Enter(Due(At(1.9), At(100)));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kSloUnattainable);
  EXPECT_EQ(refusal->message,
            "its first token is due in 1.900 s, but its prompt of 100 tokens takes 2.000 s alone at the measured rate "
            "of 50 tokens/s; allow more time or send a shorter prompt");
  EXPECT_EQ(Seconds(refusal->retry_after), 10.0);
  EXPECT_EQ(door_.waiting().requests, 1);
}

TEST_F(DoorInTime, WhatCannotHaveATokenByItsDeadlineIsRefused) {
  EXPECT_FALSE(Enter(Due(kNever, At(2.0))));
  const std::optional<Refusal> refusal = Enter(Due(At(50), At(1.9)));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kSloUnattainable);
  EXPECT_THAT(refusal->message, HasSubstr("it ends in 1.900 s, but its prompt"));
}

TEST_F(DoorInTime, AFirstTokenThatWasDueBeforeIsRefusedAndADeadlineExpires) {
  const std::optional<Refusal> refusal = Enter(Due(At(-0.5)));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->message, "its first token was due before its prompt was ready to be computed; allow more time");
  EXPECT_FALSE(Enter(Due(kNever, At(-0.5))));
}

TEST_F(DoorInTime, AnUnknownRateAndAShortPromptAreNotJudged) {
  Request brief = Due(At(0.01));
  brief.prompt.resize(4);
  EXPECT_FALSE(Enter(brief));
  EXPECT_FALSE(door_.Enter(Due(At(0.01)), 0.0, At(0)));
}

// Its prompt may be in the prefix cache, which costs no time; the scheduler looks.
TEST_F(DoorInTime, ARequestThatReadsTheCacheIsLetInWhereThereIsOne) {
  Request request = Due(At(0.01));
  request.cache.reads = true;
  EXPECT_FALSE(Enter(request));
  Request score = Due(At(0.01));
  score.cache.reads = true;
  score.kind = RequestKind::kScore;
  EXPECT_TRUE(Enter(score));
  DoorRules rules = Rules();
  rules.finds_prompts = false;
  EXPECT_TRUE(Door(rules).Enter(request, 50.0, At(0)));
}

}  // namespace
}  // namespace latentd

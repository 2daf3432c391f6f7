#include "engine/loop/queue_limit.h"

#include <chrono>
#include <optional>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TimePoint At(double seconds) { return TimePoint(FromSeconds(1000.0 + seconds)); }

std::optional<Refusal> Enter(QueueLimit& queue, int64_t prompt_tokens, TimePoint now) {
  std::optional<Refusal> refusal = queue.Refuse(prompt_tokens, now);
  if (!refusal) queue.Enter(prompt_tokens);
  return refusal;
}

TEST(QueueLimit, IsBoundedInRequests) {
  QueueLimit queue({.requests = 2, .tokens = 1000}, "the queue");
  EXPECT_FALSE(Enter(queue, 10, At(0)));
  EXPECT_FALSE(Enter(queue, 10, At(0)));
  const std::optional<Refusal> refusal = Enter(queue, 10, At(0));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kQueueFull);
  EXPECT_NE(refusal->message.find("max-queued-requests=2"), std::string::npos) << refusal->message;
  queue.Leave({.requests = 1, .tokens = 10}, At(1));
  EXPECT_FALSE(Enter(queue, 10, At(1)));
  EXPECT_EQ(queue.waiting().requests, 2);
  EXPECT_EQ(queue.waiting().tokens, 20);
}

TEST(QueueLimit, IsBoundedInTokens) {
  QueueLimit queue({.requests = 100, .tokens = 50}, "the queue");
  EXPECT_FALSE(Enter(queue, 30, At(0)));
  EXPECT_FALSE(Enter(queue, 20, At(0)));
  const std::optional<Refusal> refusal = Enter(queue, 1, At(0));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->cause, RefusalCause::kQueueTokens);
  EXPECT_NE(refusal->message.find("max-queued-tokens=50"), std::string::npos) << refusal->message;
}

TEST(QueueLimit, AnEmptyQueueTakesAPromptOfAnyLength) {
  QueueLimit queue({.requests = 100, .tokens = 50}, "the queue");
  EXPECT_FALSE(Enter(queue, 1000, At(0)));
  EXPECT_TRUE(Enter(queue, 1, At(0)));
}

// Four leave each second, so the first who is sent away finds a place after a quarter of a second, the next later.
TEST(QueueLimit, RetryFollowsTheRateAtWhichRequestsLeave) {
  QueueLimit queue({.requests = 4, .tokens = 1000}, "the queue");
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(Enter(queue, 10, At(0)));
  double now = 0.0;
  for (int i = 0; i < 200; ++i) {
    now += 0.25;
    queue.Leave({.requests = 1, .tokens = 10}, At(now));
    EXPECT_FALSE(Enter(queue, 10, At(now)));
  }
  for (int place = 1; place <= 8; ++place) {
    const std::optional<Refusal> refusal = Enter(queue, 10, At(now));
    ASSERT_TRUE(refusal.has_value());
    EXPECT_NEAR(Seconds(refusal->retry_after), 0.25 * place, 0.05 * place);
  }
  for (int i = 0; i < 8; ++i) {  // the eight could have come by now
    now += 0.25;
    queue.Leave({.requests = 1, .tokens = 10}, At(now));
    EXPECT_FALSE(Enter(queue, 10, At(now)));
  }
  EXPECT_NEAR(Seconds(Enter(queue, 10, At(now))->retry_after), 0.25, 0.05);
}

TEST(QueueLimit, RetryForTokensFollowsTheRateAtWhichTheyLeave) {
  QueueLimit queue({.requests = 100, .tokens = 400}, "the queue");
  double now = 0.0;
  EXPECT_FALSE(Enter(queue, 200, At(now)));
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(Enter(queue, 200, At(now)));
    now += 1.0;
    queue.Leave({.requests = 1, .tokens = 200}, At(now));
  }
  EXPECT_FALSE(Enter(queue, 200, At(now)));
  EXPECT_NEAR(Seconds(Enter(queue, 300, At(now))->retry_after), 1.5, 0.2);
}

TEST(QueueLimit, NothingLeftYetMeansASecond) {
  QueueLimit queue({.requests = 1, .tokens = 1000}, "the queue");
  EXPECT_FALSE(Enter(queue, 10, At(0)));
  EXPECT_EQ(Seconds(Enter(queue, 10, At(0))->retry_after), 1.0);
}

TEST(QueueLimit, AStuckQueueNeverSaysMoreThanAMinute) {
  QueueLimit queue({.requests = 1, .tokens = 1000}, "the queue");
  EXPECT_FALSE(Enter(queue, 10, At(0)));
  queue.Leave({.requests = 1, .tokens = 10}, At(0));
  EXPECT_FALSE(Enter(queue, 10, At(0)));
  EXPECT_EQ(Seconds(Enter(queue, 10, At(3600))->retry_after), 60.0);
}

TEST(RecentRate, ForgetsWhatWasLongAgo) {
  RecentRate rate;
  EXPECT_EQ(rate.PerSecond(At(0)), 0.0);
  for (int i = 0; i <= 100; ++i) rate.Add(5, At(i));
  EXPECT_NEAR(rate.PerSecond(At(100)), 5.0, 0.5);
  EXPECT_LT(rate.PerSecond(At(200)), 0.01);
}

}  // namespace
}  // namespace latentd

#include "server/traces/span_queue.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

uint64_t Dropped(const Metrics& metrics) { return metrics.Snapshot().spans[static_cast<size_t>(SpanFate::kQueueFull)]; }

TEST(SpanQueue, HandsOutBatchesInOrder) {
  Metrics metrics;
  SpanQueue queue(metrics);
  for (size_t i = 0; i < kMaxBatchSpans + 1; ++i) queue.Offer({.request_id = std::to_string(i)});
  const std::vector<RequestSpan> batch = queue.Take();
  ASSERT_EQ(batch.size(), kMaxBatchSpans);
  EXPECT_EQ(batch.back().request_id, std::to_string(kMaxBatchSpans - 1));
  queue.Close();
  EXPECT_EQ(queue.Take().front().request_id, std::to_string(kMaxBatchSpans));
  EXPECT_TRUE(queue.Take().empty());
}

TEST(SpanQueue, DropsAndCountsWhatItHasNoRoomFor) {
  Metrics metrics;
  SpanQueue queue(metrics);
  for (size_t i = 0; i < kMaxQueuedSpans + 3; ++i) queue.Offer({});
  EXPECT_EQ(Dropped(metrics), 3u);
  queue.Take();
  queue.Offer({});
  EXPECT_EQ(Dropped(metrics), 3u);
}

TEST(SpanQueue, TakesNothingOnceItIsClosed) {
  Metrics metrics;
  SpanQueue queue(metrics);
  queue.Close();
  queue.Offer({});
  EXPECT_TRUE(queue.Take().empty());
  EXPECT_EQ(Dropped(metrics), 1u);
}

TEST(SpanQueue, WaitEndsWhenItIsClosed) {
  Metrics metrics;
  SpanQueue queue(metrics);
  queue.Close();
  queue.AwaitClosed(kNever);
  EXPECT_TRUE(queue.is_closed());
}

}  // namespace
}  // namespace latentd

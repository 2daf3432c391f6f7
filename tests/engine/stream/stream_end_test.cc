// What several answers come to, in whatever order they end.
#include "engine/stream/stream_end.h"

#include <chrono>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

using std::chrono::seconds;

SequenceEnd SequenceOf(int index) { return {.id = {.request = 1, .index = index}, .prompt_tokens = 10}; }

FinishReason ReasonOf(const std::vector<std::pair<int, FinishReason>>& ends) {
  StreamEnd all;
  for (const auto& [index, reason] : ends) all.Add(SequenceOf(index), {.reason = reason});
  return all.reason;
}

TEST(StreamEnd, ReasonIsTheFirstAnswersHoweverLateItEnds) {
  using enum FinishReason;
  EXPECT_EQ(ReasonOf({{0, kStopString}, {1, kEos}, {2, kMaxTokens}}), kStopString);
  EXPECT_EQ(ReasonOf({{2, kMaxTokens}, {1, kEos}, {0, kStopToken}}), kStopToken);
}

TEST(StreamEnd, FirstFailureIsTheReasonWhateverElseEnds) {
  using enum FinishReason;
  EXPECT_EQ(ReasonOf({{0, kEos}, {2, kNonFiniteLogits}, {1, kCancelled}}), kNonFiniteLogits);
  EXPECT_EQ(ReasonOf({{2, kExpiredInDecode}, {1, kMaxTokens}, {0, kEos}}), kExpiredInDecode);
}

TEST(StreamEnd, CountsThePromptOnceAndAllElseOfEveryAnswer) {
  StreamEnd all;
  for (int index = 2; index >= 0; --index) {
    SequenceEnd sequence = SequenceOf(index);
    sequence.generated_tokens = 5;
    sequence.computed_tokens = 14;
    sequence.cached_tokens = index == 0 ? 3 : 10;
    sequence.drafted_tokens = 4;
    sequence.accepted_tokens = index;
    all.Add(sequence, {.output_tokens = 2, .reasoning_tokens = 1});
  }
  EXPECT_EQ(all.prompt_tokens, 10);
  EXPECT_EQ(all.cached_tokens, 3);
  EXPECT_EQ(all.generated_tokens, 15);
  EXPECT_EQ(all.computed_tokens, 14 + 4 + 4);
  EXPECT_EQ(all.output_tokens, 6);
  EXPECT_EQ(all.reasoning_tokens, 3);
  EXPECT_EQ(all.drafted_tokens, 12);
  EXPECT_EQ(all.accepted_tokens, 3);
}

TEST(StreamEnd, TimesAreOfTheFirstToBeginAndTheLastToEnd) {
  const TimePoint start{};
  StreamEnd all;
  for (int index = 0; index < 3; ++index) {
    SequenceEnd sequence = SequenceOf(index);
    sequence.generated_tokens = 3;
    SequenceTimings& at = sequence.timings;
    at.received = start;
    at.first_scheduled = start + seconds(1 + index);
    at.first_token = start + seconds(10 - index);
    at.last_token = start + seconds(30 - 2 * index);
    at.finished = at.released = start + seconds(31 - 2 * index);
    at.preempted = seconds(index == 1 ? 4 : 2);
    at.token_gaps.Observe(1.0, 2);
    all.Add(sequence, {});
  }
  EXPECT_EQ(all.timings.first_scheduled, start + seconds(1));
  EXPECT_EQ(all.timings.first_token, start + seconds(8));
  EXPECT_EQ(all.timings.last_token, start + seconds(30));
  EXPECT_EQ(all.timings.finished, start + seconds(31));
  EXPECT_EQ(all.timings.released, start + seconds(31));
  EXPECT_EQ(all.timings.preempted, seconds(4));
  EXPECT_EQ(all.timings.cancel_asked, kNever);
  EXPECT_EQ(all.timings.token_gaps.count(), 6u);
  EXPECT_EQ(all.seconds_per_token.count(), 3u);
  EXPECT_EQ(all.seconds_per_token.sum(), 10.0 + 9.5 + 9.0);
}

TEST(StreamEnd, AnAnswerWithoutTokensHasNeitherTheirTimesNorTheirMean) {
  StreamEnd all;
  SequenceEnd one = SequenceOf(0);
  one.generated_tokens = 1;
  one.timings.first_token = one.timings.last_token = one.timings.finished = TimePoint{} + seconds(1);
  all.Add(one, {});
  SequenceEnd none = SequenceOf(1);
  none.timings.finished = TimePoint{} + seconds(2);
  all.Add(none, {});
  EXPECT_EQ(all.timings.first_token, TimePoint{} + seconds(1));
  EXPECT_EQ(all.timings.last_token, TimePoint{} + seconds(1));
  EXPECT_EQ(all.timings.finished, TimePoint{} + seconds(2));
  EXPECT_EQ(all.seconds_per_token.count(), 0u);
}

}  // namespace
}  // namespace latentd

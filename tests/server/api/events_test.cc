#include "server/api/events.h"

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

constexpr OutputChoice kText{.text = true};

// An answer with two calls, cut as a stream of chunks may cut it.
const std::vector<StreamChunk> kChunks = {
    {.reasoning = "Hm", .tokens = {{.id = 1}}, .tokens_so_far = 1},
    {.text = "Yes", .reasoning = ".", .tokens = {{.id = 2}}, .tokens_so_far = 2},
    {.text = "!", .tool_calls = {{.index = 0, .id = "call_0", .name = "f", .arguments = "{"}}, .tokens_so_far = 3},
    {.tool_calls = {{.index = 0, .arguments = "}"}, {.index = 1, .id = "call_1", .name = "g", .arguments = "{}"}},
     .tokens_so_far = 4},
    {.tool_calls = {{.index = 1, .arguments = " "}}, .tokens_so_far = 5}};

TEST(Events, CollectedAnswerIsTheStreamedOne) {
  v1::Delta collected;
  for (const StreamChunk& chunk : kChunks) AppendToDelta(chunk, kText, &collected);
  EXPECT_EQ(collected.text(), "Yes!");
  EXPECT_EQ(collected.reasoning(), "Hm.");
  ASSERT_EQ(collected.tool_calls_size(), 2);
  EXPECT_EQ(collected.tool_calls(0).id(), "call_0");
  EXPECT_EQ(collected.tool_calls(0).name(), "f");
  EXPECT_EQ(collected.tool_calls(0).arguments_json_fragment(), "{}");
  EXPECT_EQ(collected.tool_calls(1).index(), 1u);
  EXPECT_EQ(collected.tool_calls(1).arguments_json_fragment(), "{} ");
  EXPECT_EQ(collected.tokens_so_far(), 5u);
}

TEST(Events, LaterFragmentsNameTheirCallByIndexOnly) {
  v1::Delta delta;
  AppendToDelta(kChunks[3], kText, &delta);
  ASSERT_EQ(delta.tool_calls_size(), 2);
  EXPECT_EQ(delta.tool_calls(0).index(), 0u);
  EXPECT_EQ(delta.tool_calls(0).id() + delta.tool_calls(0).name(), "");
  EXPECT_EQ(delta.tool_calls(0).arguments_json_fragment(), "}");
}

TEST(Events, WithoutTextThereIsNeitherReasoningNorACall) {
  v1::Delta delta;
  for (const StreamChunk& chunk : kChunks) AppendToDelta(chunk, {.text = false}, &delta);
  EXPECT_EQ(delta.text() + delta.reasoning(), "");
  EXPECT_EQ(delta.tool_calls_size(), 0);
  EXPECT_EQ(delta.tokens_so_far(), 5u);
}

TEST(Events, ReasoningTokensAreReported) {
  EXPECT_EQ(MakeCompleted({.output_tokens = 9, .reasoning_tokens = 4}).usage().reasoning_tokens(), 4u);
}

TEST(Events, CompletedTellsOfTheCacheAndOfPreemption) {
  const v1::Completed completed =
      MakeCompleted({.prompt_tokens = 9, .cached_tokens = 8, .timings = {.preempted = std::chrono::seconds(2)}});
  EXPECT_EQ(completed.usage().cached_tokens(), 8u);
  EXPECT_EQ(completed.timings().preempted_seconds(), 2.0);
}

}  // namespace
}  // namespace latentd

#include "engine/stream/token_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

class CountingSink final : public TextSink {
 public:
  void Wake() override { ++num_wakes; }
  int num_wakes = 0;
};

StreamChunk Chunk(std::string text, int tokens_so_far) {
  return {.text = std::move(text), .tokens = {{.id = tokens_so_far}}, .tokens_so_far = tokens_so_far};
}

TEST(TokenStream, DeliversTheFirstChunkAloneAndMergesWhatNobodyTookBehindIt) {
  CountingSink sink;
  TokenStream stream(&sink, 1000);
  EXPECT_TRUE(stream.Append(Chunk("a", 1)));
  EXPECT_TRUE(stream.Append(Chunk("b", 2)));
  EXPECT_TRUE(stream.Append(Chunk("c", 3)));
  EXPECT_EQ(sink.num_wakes, 1);
  EXPECT_TRUE(stream.Append({.tokens_so_far = 3, .end = StreamEnd{.reason = FinishReason::kMaxTokens}}));
  bool was_full = true;
  const std::optional<StreamChunk> first = stream.Take(&was_full);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->text, "a");
  EXPECT_EQ(first->tokens_so_far, 1);
  EXPECT_FALSE(first->end.has_value());
  const std::optional<StreamChunk> chunk = stream.Take(&was_full);
  ASSERT_TRUE(chunk.has_value());
  EXPECT_FALSE(was_full);
  EXPECT_EQ(chunk->text, "bc");
  ASSERT_EQ(chunk->tokens.size(), 2u);
  EXPECT_EQ(chunk->tokens[1].id, 3);
  EXPECT_EQ(chunk->tokens_so_far, 3);
  ASSERT_TRUE(chunk->end.has_value());
  EXPECT_EQ(chunk->end->reason, FinishReason::kMaxTokens);
  EXPECT_FALSE(stream.Take(&was_full).has_value());
}

TEST(TokenStream, WakesAgainAfterATake) {
  CountingSink sink;
  TokenStream stream(&sink, 1000);
  bool was_full = false;
  stream.Append(Chunk("a", 1));
  stream.Take(&was_full);
  stream.Append(Chunk("b", 2));
  EXPECT_EQ(sink.num_wakes, 2);
  EXPECT_EQ(stream.Take(&was_full)->text, "b");
}

TEST(TokenStream, EndWakesEvenASinkThatWasWokenBefore) {
  CountingSink sink;
  TokenStream stream(&sink, 1000);
  stream.Append(Chunk("a", 1));
  EXPECT_FALSE(stream.has_end());
  stream.Append({.tokens_so_far = 1, .end = StreamEnd{}});
  EXPECT_EQ(sink.num_wakes, 2);
  EXPECT_TRUE(stream.has_end());
}

TEST(TokenStream, TellsWhenItIsFullAndLosesNothing) {
  TokenStream stream(nullptr, 2 * (sizeof(StreamToken) + 10));
  EXPECT_TRUE(stream.Append(Chunk("0123456789", 1)));
  EXPECT_TRUE(stream.Append(Chunk("0123456789", 2)));
  EXPECT_FALSE(stream.full());
  EXPECT_FALSE(stream.Append(Chunk("x", 3)));
  EXPECT_TRUE(stream.full());
  EXPECT_FALSE(stream.Append({.tokens_so_far = 3, .end = StreamEnd{}}));
  bool was_full = false;
  EXPECT_EQ(stream.Take(&was_full)->text, "0123456789");
  EXPECT_TRUE(was_full);
  EXPECT_FALSE(stream.full());
  const std::optional<StreamChunk> rest = stream.Take(&was_full);
  EXPECT_FALSE(was_full) << "told twice";
  EXPECT_EQ(rest->text, "0123456789x");
  EXPECT_TRUE(rest->end.has_value());
}

TEST(TokenStream, AFullChunkIsNotMergedInto) {
  TokenStream stream(nullptr, 10 * kMaxChunkBytes);
  const std::string text(kMaxChunkBytes / 2, 'x');
  for (int i = 1; i <= 6; ++i) stream.Append(Chunk(text, i));
  bool was_full = false;
  std::vector<size_t> sizes;
  std::optional<StreamChunk> chunk = stream.Take(&was_full);
  for (; chunk->more_pending; chunk = stream.Take(&was_full)) sizes.push_back(chunk->text.size() / text.size());
  sizes.push_back(chunk->text.size() / text.size());
  EXPECT_THAT(sizes, testing::ElementsAre(1, 2, 2, 1));
  EXPECT_EQ(chunk->tokens_so_far, 6);
  EXPECT_FALSE(stream.Take(&was_full).has_value());
}

TEST(TokenStream, IsFullUntilItIsBelowTheBoundAgain) {
  TokenStream stream(nullptr, 2 * kMaxChunkBytes);
  const std::string text(kMaxChunkBytes, 'x');
  for (int i = 1; i <= 4; ++i) stream.Append(Chunk(text, i));
  std::vector<bool> resumed;
  bool was_full = false;
  while (stream.Take(&was_full)) resumed.push_back(was_full);
  EXPECT_THAT(resumed, testing::ElementsAre(false, false, true, false));
}

TEST(TokenStream, CountsLogprobsAsBytes) {
  TokenStream stream(nullptr, sizeof(StreamToken) + 100);
  StreamChunk chunk = Chunk("", 1);
  chunk.tokens[0].top.resize(32);
  EXPECT_FALSE(stream.Append(std::move(chunk)));
}

TEST(TokenStream, MergesWhatIsNotContentByItsKind) {
  TokenStream stream(nullptr, 1000);
  stream.Append(Chunk("a", 1));
  stream.Append({.reasoning = "b", .tool_calls = {{.index = 0, .id = "x", .name = "f", .arguments = "{"}}});
  stream.Append(
      {.reasoning = "c", .tool_calls = {{.index = 0, .arguments = "}"}, {.index = 1, .id = "y", .name = "g"}}});
  bool was_full = false;
  stream.Take(&was_full);
  const std::optional<StreamChunk> merged = stream.Take(&was_full);
  ASSERT_TRUE(merged.has_value());
  EXPECT_EQ(merged->reasoning, "bc");
  ASSERT_EQ(merged->tool_calls.size(), 2u);
  EXPECT_EQ(merged->tool_calls[0].id, "x");
  EXPECT_EQ(merged->tool_calls[0].arguments, "{}");
  EXPECT_EQ(merged->tool_calls[1].name, "g");
}

TEST(TokenStream, CountsWhatIsNotContentAsBytes) {
  const std::string text(60, 'x');
  const std::vector<ToolCallFragment> calls = {{.id = text, .name = text, .arguments = text}};
  EXPECT_FALSE(TokenStream(nullptr, 50).Append({.reasoning = text}));
  EXPECT_FALSE(TokenStream(nullptr, 3 * text.size() - 1).Append({.tool_calls = calls}));
  EXPECT_TRUE(TokenStream(nullptr, 3 * text.size() + sizeof(ToolCallFragment)).Append({.tool_calls = calls}));
}

// ------------------------------------------------------------------------------------------------ several answers

StreamChunk ChunkOf(int index, std::string text) {
  StreamChunk chunk = Chunk(std::move(text), 1);
  chunk.index = index;
  return chunk;
}

// "index:text" of each chunk that is pending, in the order in which they are taken.
std::vector<std::string> TakeAll(TokenStream& stream) {
  std::vector<std::string> taken;
  bool was_full = false;
  while (const std::optional<StreamChunk> chunk = stream.Take(&was_full)) {
    taken.push_back(std::to_string(chunk->index) + ":" + chunk->text);
    EXPECT_EQ(chunk->end.has_value(), stream.has_end() && !chunk->more_pending);
  }
  return taken;
}

TEST(TokenStream, EachAnswerBeginsAloneAndMergesWithItsOwn) {
  TokenStream stream(nullptr, 1000);
  for (const char* text : {"a", "b", "c"}) {
    for (int index = 0; index < 3; ++index) stream.Append(ChunkOf(index, text));
  }
  EXPECT_THAT(TakeAll(stream), testing::ElementsAre("0:a", "1:a", "2:a", "0:bc", "1:bc", "2:bc"));
  for (const int index : {1, 0, 1, 1}) stream.Append(ChunkOf(index, "d"));
  EXPECT_THAT(TakeAll(stream), testing::ElementsAre("1:ddd", "0:d"));
}

TEST(TokenStream, EndOfTheRequestIsTheLastThingTakenWhicheverAnswerBringsIt) {
  TokenStream stream(nullptr, 1000);
  for (const char* text : {"a", "b"}) {
    for (int index = 0; index < 2; ++index) stream.Append(ChunkOf(index, text));
  }
  stream.Append({.index = 1, .answer_end = AnswerEnd{}});
  stream.Append({.index = 0, .answer_end = AnswerEnd{}, .end = StreamEnd{.output_tokens = 4}});
  EXPECT_THAT(TakeAll(stream), testing::ElementsAre("0:a", "1:a", "0:b", "1:b"));
  EXPECT_EQ(stream.ending()->output_tokens, 4);
}

TEST(TokenStream, IsFullByWhatAllAnswersHold) {
  TokenStream stream(nullptr, 2 * (sizeof(StreamToken) + 10));
  EXPECT_TRUE(stream.Append(ChunkOf(0, "0123456789")));
  EXPECT_TRUE(stream.Append(ChunkOf(1, "0123456789")));
  EXPECT_FALSE(stream.Append(ChunkOf(2, "x")));
  bool was_full = false;
  stream.Take(&was_full);
  EXPECT_TRUE(was_full) << "whichever answer made room";
}

TEST(TokenStream, DetachedSinkIsNotCalled) {
  CountingSink sink;
  TokenStream stream(&sink, 1000);
  stream.Detach();
  stream.Append(Chunk("a", 1));
  EXPECT_EQ(sink.num_wakes, 0);
}

TEST(TokenStreamDeathTest, NothingFollowsAnEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TokenStream stream(nullptr, 1000);
  stream.Append({.end = StreamEnd{}});
  EXPECT_DEATH(stream.Append({.end = StreamEnd{}}), "check failed: !has_end_");
}

TEST(TokenStream, BacklogHoldsWhatIsPendingAndNothingAfterTheStream) {
  std::atomic<int64_t> backlog{0};
  bool was_full = false;
  {
    TokenStream stream(nullptr, 1000, {.num_bytes = &backlog});
    stream.Append({.text = "abc"});
    stream.Append({.text = "de"});
    EXPECT_EQ(backlog, 5);
    stream.Take(&was_full);
    EXPECT_EQ(backlog, 2);
  }
  EXPECT_EQ(backlog, 0);
}

TEST(TokenStream, FullByTheBacklogStaysSoUntilItsReaderMakesRoom) {
  std::atomic<int64_t> backlog{0};
  constexpr int64_t kMaxBacklog = kMaxChunkBytes + 100;
  TokenStream other(nullptr, 1 << 20, {.num_bytes = &backlog, .max_bytes = kMaxBacklog});
  TokenStream stream(nullptr, 1 << 20, {.num_bytes = &backlog, .max_bytes = kMaxBacklog});
  bool was_full = false;
  other.Append({.text = std::string(100, 'x')});
  EXPECT_FALSE(stream.Append({.text = std::string(kMaxChunkBytes + 1, 'x')}));
  other.Take(&was_full);
  EXPECT_FALSE(was_full);
  stream.Append({.text = "y"});  // of a step that was under way when the sequence paused
  EXPECT_TRUE(stream.full());
  stream.Take(&was_full);
  EXPECT_TRUE(was_full);
  EXPECT_FALSE(stream.full());
}

}  // namespace
}  // namespace latentd

// Requests with several answers as their clients get them.
#include "server/api/v1_renderings.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/api/answer_limit.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;

StreamChunk Said(int index, std::string text, int tokens_so_far) {
  StreamChunk chunk{.index = index, .text = std::move(text), .tokens_so_far = tokens_so_far};
  chunk.tokens.push_back({.id = 10 * index + tokens_so_far});
  return chunk;
}

StreamChunk Ended(StreamChunk chunk, FinishReason reason) {
  chunk.answer_end = AnswerEnd{.reason = reason, .output_tokens = chunk.tokens_so_far};
  return chunk;
}

// Two answers that come in turn; the first to begin is the last to end.
std::vector<StreamChunk> TwoAnswers() {
  StreamChunk stopped = Ended({.index = 1, .tokens_so_far = 2}, FinishReason::kStopString);
  stopped.answer_end->stop_string = "END";
  return {Said(0, "a", 1), Said(1, "x", 1), Said(1, "y", 2),
          Said(0, "b", 2), stopped,         Ended(Said(0, "c", 3), FinishReason::kMaxTokens)};
}

const StreamEnd kEnd{.prompt_tokens = 4, .output_tokens = 5, .drafted_tokens = 7, .accepted_tokens = 2};

class V1RenderingsTest : public testing::Test {
 protected:
  V1RenderingsTest() { request_.output = {.text = true, .token_ids = true}; }

  std::vector<std::string> Render(Rendering& rendering, const std::vector<StreamChunk>& chunks) const {
    std::vector<std::string> messages;
    rendering.Start({.request_id = "r", .prompt_tokens = 4, .request = request_, .model = model_}, messages);
    for (const StreamChunk& chunk : chunks) rendering.Add(chunk, messages);
    rendering.End(kEnd, messages);
    return messages;
  }

  ValidRequest request_;
  v1::Model model_;
};

// "started", "0:a" for a Delta, "0!" for a SequenceEnd, "completed".
std::vector<std::string> Told(const std::vector<std::string>& messages) {
  std::vector<std::string> told;
  for (const std::string& message : messages) {
    v1::GenerateEvent event;
    EXPECT_TRUE(event.ParseFromString(message));
    if (event.has_started()) told.push_back("started");
    if (event.has_delta()) told.push_back(std::to_string(event.delta().index()) + ":" + event.delta().text());
    if (event.has_sequence_end()) told.push_back(std::to_string(event.sequence_end().index()) + "!");
    if (event.has_completed()) told.push_back("completed");
  }
  return told;
}

TEST_F(V1RenderingsTest, StreamNamesTheAnswerOfEachEventAndCompletesAfterAllEnds) {
  EventStream stream;
  const std::vector<std::string> messages = Render(stream, TwoAnswers());
  EXPECT_THAT(Told(messages), ElementsAre("started", "0:a", "1:x", "1:y", "0:b", "1!", "0:c", "0!", "completed"));
  v1::GenerateEvent event;
  ASSERT_TRUE(event.ParseFromString(messages[5]));
  EXPECT_EQ(event.sequence_end().stop_string(), "END");
  EXPECT_EQ(event.sequence_end().output_tokens(), 2u);
  ASSERT_TRUE(event.ParseFromString(messages.back()));
  EXPECT_EQ(event.completed().usage().prompt_tokens(), 4u);
  EXPECT_EQ(event.completed().usage().generated_tokens(), 5u);
  EXPECT_EQ(event.completed().usage().drafted_tokens(), 7u);
  EXPECT_EQ(event.completed().usage().accepted_tokens(), 2u);
}

TEST_F(V1RenderingsTest, AnAnswerThatFailedHasNoEndOfItsOwn) {
  EventStream stream;
  std::vector<StreamChunk> chunks = TwoAnswers();
  chunks.back().answer_end->reason = FinishReason::kNonFiniteLogits;
  EXPECT_THAT(Told(Render(stream, chunks)),
              ElementsAre("started", "0:a", "1:x", "1:y", "0:b", "1!", "0:c", "completed"));
}

TEST_F(V1RenderingsTest, WholeResultHasItsAnswersByIndex) {
  WholeResult whole;
  const std::vector<std::string> messages = Render(whole, TwoAnswers());
  ASSERT_EQ(messages.size(), 1u);
  v1::GenerateResult result;
  ASSERT_TRUE(result.ParseFromString(messages[0]));
  ASSERT_EQ(result.sequences_size(), 2);
  const std::vector<std::string> texts = {"abc", "xy"};
  for (int index = 0; index < 2; ++index) {
    const v1::SequenceResult& answer = result.sequences(index);
    EXPECT_EQ(answer.output().index(), static_cast<uint32_t>(index));
    EXPECT_EQ(answer.end().index(), static_cast<uint32_t>(index));
    EXPECT_EQ(answer.output().text(), texts[static_cast<size_t>(index)]);
    EXPECT_EQ(answer.output().token_ids_size(), static_cast<int>(answer.end().output_tokens()));
    EXPECT_EQ(answer.output().tokens_so_far(), answer.end().output_tokens());
  }
  EXPECT_EQ(result.sequences(0).end().reason(), v1::END_REASON_MAX_TOKENS);
  EXPECT_EQ(result.sequences(1).end().reason(), v1::END_REASON_STOP_STRING);
  EXPECT_EQ(result.completed().usage().generated_tokens(), 5u);
}

TEST_F(V1RenderingsTest, AnAnswerThatOnlyEndedIsThere) {
  WholeResult whole;
  const StreamChunk empty = Ended({.index = 1}, FinishReason::kEos);
  const std::vector<std::string> messages = Render(whole, {empty, Ended(Said(0, "a", 1), FinishReason::kEos)});
  v1::GenerateResult result;
  ASSERT_TRUE(result.ParseFromString(messages.at(0)));
  ASSERT_EQ(result.sequences_size(), 2);
  EXPECT_EQ(result.sequences(1).output().index(), 1u);
  EXPECT_EQ(result.sequences(1).end().reason(), v1::END_REASON_EOS);
}

TEST_F(V1RenderingsTest, NoWholeResultIsLargerThanItsLimitSays) {
  constexpr uint32_t kVocabulary = 100'000;
  constexpr int kTokens = 50;
  request_.output = {.text = true, .token_ids = true, .logprobs = true};
  request_.request.answer.num_top_logprobs = 2;
  request_.stopping.set_max_tokens(kTokens);
  std::vector<size_t> limits;
  for (const int num_answers : {1, 2, 64}) {
    request_.request.num_sequences = num_answers;
    std::vector<StreamChunk> chunks;
    for (int index = 0; index < num_answers; ++index) {
      StreamChunk chunk = Ended({.index = index, .tokens_so_far = kTokens}, FinishReason::kStopString);
      chunk.answer_end->stop_string = std::string(256, 's');
      const StreamToken token{.id = kVocabulary - 1,
                              .logprob = -1.0f,
                              .sampled_logprob = -1.0f,
                              .top = std::vector<TokenLogprob>(2, {kVocabulary - 1, -1.0f})};
      chunk.tokens.assign(kTokens, token);
      chunks.push_back(std::move(chunk));
    }
    WholeResult whole;
    limits.push_back(MostAnswerBytes(request_, kVocabulary));
    EXPECT_LE(Render(whole, chunks).at(0).size(), limits.back()) << num_answers;
  }
  EXPECT_LT(limits[2], 64 * limits[0]) << "the parameters are told once";
}

}  // namespace
}  // namespace latentd

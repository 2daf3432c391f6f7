// Answers as the gateway smg reads them: chunks and then what is complete, or that alone.
#include "server/smg/generate_responses.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/api/fake_model.h"

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Delivery = GenerateResponses::Delivery;

StreamChunk ChunkOf(int index, std::vector<int32_t> ids, int so_far) {
  StreamChunk chunk{.index = index, .tokens_so_far = so_far};
  for (const int32_t id : ids) {
    chunk.tokens.push_back({.id = id, .logprob = -1.0f, .top = {TokenLogprob{.id = 3, .logprob = -0.5f}}});
  }
  return chunk;
}

StreamChunk EndOf(int index, AnswerEnd end) {
  StreamChunk chunk{.index = index, .tokens_so_far = end.output_tokens};
  chunk.answer_end = std::move(end);
  return chunk;
}

class GenerateResponsesTest : public testing::Test {
 protected:
  void Begin(Delivery delivery, int num_answers) {
    responses_.Choose(delivery, num_answers);
    responses_.Start(
        {.request_id = "r", .prompt_tokens = 9, .cached_tokens = 4, .request = request_, .model = model_.description},
        messages_);
  }
  // The last message.
  pb::GenerateResponse Last() const {
    pb::GenerateResponse response;
    EXPECT_TRUE(!messages_.empty() && response.ParseFromString(messages_.back()));
    return response;
  }

  const ServedModel model_ = FakeModel({});
  ValidRequest request_;
  GenerateResponses responses_;
  std::vector<std::string> messages_;
};

TEST_F(GenerateResponsesTest, StreamedAnswerIsChunksAndThenAllOfIt) {
  Begin(Delivery::kChunks, 1);
  EXPECT_FALSE(responses_.SizingFields());
  responses_.Add(ChunkOf(0, {5, 6}, 2), messages_);
  EXPECT_THAT(Last().chunk().token_ids(), ElementsAre(5u, 6u));
  EXPECT_EQ(Last().chunk().prompt_tokens(), 9u);
  EXPECT_EQ(Last().chunk().cached_tokens(), 4u);
  EXPECT_EQ(Last().chunk().completion_tokens(), 2u);
  responses_.Add(EndOf(0, {.reason = FinishReason::kMaxTokens, .output_tokens = 2}), messages_);
  EXPECT_EQ(messages_.size(), 1u) << "what was drafted is not known yet";
  responses_.End({.drafted_tokens = 8, .accepted_tokens = 5}, messages_);
  ASSERT_EQ(messages_.size(), 2u);
  EXPECT_THAT(Last().complete().output_ids(), ElementsAre(5u, 6u));
  EXPECT_EQ(Last().complete().finish_reason(), "length");
  EXPECT_EQ(Last().complete().spec_draft_tokens(), 8u);
  EXPECT_EQ(Last().complete().spec_accepted_tokens(), 5u);
  EXPECT_FALSE(Last().complete().has_output_logprobs());
}

TEST_F(GenerateResponsesTest, AnswersOfSeveralAreCompleteAsTheyEnd) {
  Begin(Delivery::kChunks, 2);
  responses_.Add(ChunkOf(1, {5}, 1), messages_);
  responses_.Add(EndOf(1, {.reason = FinishReason::kStopToken, .stop_token_id = 5, .output_tokens = 1}), messages_);
  EXPECT_EQ(Last().complete().index(), 1u);
  EXPECT_EQ(Last().complete().finish_reason(), "stop");
  EXPECT_EQ(Last().complete().matched_token_id(), 5u);
  responses_.Add(EndOf(0, {.reason = FinishReason::kEos, .stop_token_id = 1}), messages_);
  EXPECT_EQ(Last().complete().matched_stop_case(), pb::GenerateComplete::MATCHED_STOP_NOT_SET) << "an end of its own";
  const size_t before = messages_.size();
  responses_.End({}, messages_);
  EXPECT_EQ(messages_.size(), before);
}

TEST_F(GenerateResponsesTest, HeldAnswersFollowTheEndByIndexWithTheirLogprobs) {
  request_.output.logprobs = true;
  Begin(Delivery::kHeld, 2);
  EXPECT_TRUE(responses_.SizingFields());
  EXPECT_EQ(responses_.num_held_messages(), 2);
  responses_.Add(ChunkOf(1, {5, 6}, 2), messages_);
  responses_.Add(EndOf(1, {.reason = FinishReason::kStopString, .stop_string = "x", .output_tokens = 2}), messages_);
  responses_.Add(ChunkOf(0, {7}, 1), messages_);
  responses_.Add(EndOf(0, {.reason = FinishReason::kEos, .output_tokens = 1}), messages_);
  EXPECT_THAT(messages_, IsEmpty());
  responses_.End({}, messages_);
  ASSERT_EQ(messages_.size(), 2u);
  EXPECT_EQ(Last().complete().index(), 1u);
  EXPECT_EQ(Last().complete().matched_stop_str(), "x");
  EXPECT_THAT(Last().complete().output_logprobs().token_ids(), ElementsAre(5u, 6u));
  EXPECT_THAT(Last().complete().output_logprobs().token_logprobs(), ElementsAre(-1.0f, -1.0f));
  EXPECT_THAT(Last().complete().output_logprobs().top_logprobs(1).token_ids(), ElementsAre(3u));
}

}  // namespace
}  // namespace latentd

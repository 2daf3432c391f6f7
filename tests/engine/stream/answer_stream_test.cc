// A chat's answer from the steps of the engine to the chunks that a client takes: how the ids are dealt out to steps,
// and which chunks merge, makes no difference.
#include <chrono>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/loop/publisher_thread.h"
#include "tests/engine/stream/step_outputs.h"
#include "tests/engine/stream/stream_reader.h"
#include "tests/engine/text/answer/parsed_answer.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

const Tokenizer& DeepSeek() {
  static const std::unique_ptr<Tokenizer> tokenizer = OrDie(LoadFrom(SmallTokenizerWith(DeepSeekMarkers())));
  return *tokenizer;
}

// What the chunk says, as a client collects it.
std::string Said(StreamChunk chunk) {
  AnswerParts whole;
  Collect({.content = std::move(chunk.text),
           .reasoning = std::move(chunk.reasoning),
           .tool_calls = std::move(chunk.tool_calls)},
          whole);
  return Said(whole);
}

class AnswerStreamTest : public testing::Test {
 protected:
  AnswerStreamTest() { publisher_.Start(inbox_); }
  ~AnswerStreamTest() override { publisher_.Stop(); }

  std::shared_ptr<TokenStream> Open(StoppingRule stopping = {}) {
    Request request;
    request.id = ++last_id_;
    request.answer.chat = ChatAnswer{.starts_in_reasoning = true, .calls_before = 1};
    request.stopping = std::move(stopping);
    auto stream = std::make_shared<TokenStream>(&reader_, 1 << 20);
    std::vector<StreamOpening> opened = {OpeningOf(request, stream)};
    StepOutput nothing;
    publisher_.Publish(opened, nothing);
    return stream;
  }

  // One step of the stream opened last.
  void Step(std::span<const int32_t> ids, std::optional<FinishReason> end = std::nullopt) {
    StepOutput output = OutputOf(last_id_, ids);
    if (end) output.ends.push_back({.id = {.request = last_id_}, .reason = *end});
    std::vector<StreamOpening> none;
    publisher_.Publish(none, output);
  }

  const std::vector<int32_t> ids_ = OrDie(DeepSeek().Encode(
      "é?</think>🦊 "
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
      "\"é\"}\n```"
      "<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>.<|end|>",
      SpecialTokens::kRecognize));
  const std::string said_ = "(é?)🦊 .|call_1=f:{\"a\": \"é\"}||call_2=g:{}|";

  Metrics metrics_;
  Inbox inbox_{DoorRules{.most_queued = {.requests = 10, .tokens = 1000}}};
  StreamReader reader_;
  PublisherThread publisher_{&DeepSeek(), metrics_};
  RequestId last_id_ = 0;
};

TEST_F(AnswerStreamTest, EveryCutIntoThreeStepsSaysTheSame) {
  const std::span<const int32_t> all = ids_;
  for (size_t first = 0; first <= all.size(); ++first) {
    for (size_t second = first; second <= all.size(); ++second) {
      const auto stream = Open();
      Step(all.first(first));
      Step(all.subspan(first, second - first));
      Step(all.subspan(second), FinishReason::kEos);
      const StreamChunk chunk = reader_.ReadToEnd(*stream);
      ASSERT_EQ(Said(chunk), said_) << first << " " << second;
      ASSERT_EQ(chunk.end->reason, FinishReason::kEos) << "calls are no reason of their own";
      ASSERT_EQ(chunk.end->reasoning_tokens, 3) << "of two bytes and of one";
      ASSERT_EQ(chunk.end->output_tokens, static_cast<int>(ids_.size()));
    }
  }
  const uint64_t num_streams = (ids_.size() + 1) * (ids_.size() + 2) / 2;
  EXPECT_EQ(metrics_.Snapshot().generated_tokens_delivered, num_streams * ids_.size());
}

TEST_F(AnswerStreamTest, StepsOfOneTokenSayTheSameAsTheyCome) {
  const auto stream = Open();
  for (const int32_t& id : ids_) Step({&id, 1});
  Step({}, FinishReason::kMaxTokens);
  EXPECT_EQ(Said(reader_.ReadToEnd(*stream)), said_);
}

TEST_F(AnswerStreamTest, StopStringLeavesWhatFollowsUnsaidAndUncounted) {
  const auto stream = Open({.stop_strings = {"é", "🦊"}});
  Step(ids_);
  Step({}, FinishReason::kCancelled);
  const StreamChunk chunk = reader_.ReadToEnd(*stream);
  EXPECT_EQ(Said(chunk), "(é?)");
  EXPECT_EQ(chunk.answer_end->stop_string, "🦊");
  EXPECT_EQ(chunk.end->output_tokens, 3 + 1 + 4);
  EXPECT_EQ(chunk.end->reasoning_tokens, 3);
}

}  // namespace
}  // namespace latentd

// A request with several answers, from the steps of the engine to the chunks that a client takes.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/stream/publisher.h"
#include "tests/engine/stream/step_outputs.h"
#include "tests/engine/stream/stream_reader.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Ids = std::vector<int32_t>;

const Tokenizer& DeepSeek() {
  static const std::unique_ptr<Tokenizer> tokenizer = OrDie(LoadFrom(SmallTokenizerWith(DeepSeekMarkers())));
  return *tokenizer;
}

Ids Encode(std::string_view text) { return OrDie(DeepSeek().Encode(text, SpecialTokens::kRecognize)); }

class SeveralAnswersTest : public testing::Test {
 protected:
  std::shared_ptr<TokenStream> Open(int num_sequences, Request request = {}, size_t max_pending_bytes = 1 << 20) {
    request.id = ++last_id_;
    request.num_sequences = num_sequences;
    auto stream = std::make_shared<TokenStream>(&reader_, max_pending_bytes);
    publisher_.Open(OpeningOf(request, stream));
    return stream;
  }

  // They are of the request opened last.
  SequenceId Sequence(int index) const { return {.request = last_id_, .index = index}; }
  void Add(int index, const Ids& ids) { AddTokens(Sequence(index), ids, step_); }
  void End(int index, FinishReason reason, int num_generated = 0) {
    step_.ends.push_back({.id = Sequence(index), .reason = reason, .generated_tokens = num_generated});
  }
  void Step() { steps_.push_back(std::exchange(step_, {})); }
  void Publish() {
    if (!step_.empty()) Step();
    publisher_.Publish(steps_, effects_);
    steps_.clear();
  }

  Metrics metrics_;
  StreamReader reader_;
  Publisher publisher_{&DeepSeek(), metrics_};
  RequestId last_id_ = 0;
  StepOutput step_;
  std::vector<StepOutput> steps_;
  Effects effects_;
};

TEST_F(SeveralAnswersTest, EachSaysItsOwnAndEndsByItself) {
  const auto stream = Open(3);
  const std::vector<std::string> texts = {"caf\u00e9", "a fox", ""};
  Add(0, Encode(texts[0]));
  Add(1, Encode(texts[1]));
  End(1, FinishReason::kMaxTokens);
  End(2, FinishReason::kContextLimit);
  Publish();
  EXPECT_FALSE(stream->has_end());
  EXPECT_THAT(effects_.ended, IsEmpty());
  End(0, FinishReason::kEos);
  Publish();
  EXPECT_THAT(effects_.ended, ElementsAre(last_id_)) << "requests, not sequences";
  const auto [answers, end] = reader_.ReadAnswers(*stream);
  ASSERT_EQ(answers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(answers[i].text, texts[i]);
    EXPECT_EQ(IdsOf(answers[i]), Encode(texts[i]));
    EXPECT_EQ(answers[i].answer_end->output_tokens, std::ssize(Encode(texts[i])));
  }
  EXPECT_EQ(answers[0].answer_end->reason, FinishReason::kEos);
  EXPECT_EQ(answers[1].answer_end->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(answers[2].answer_end->reason, FinishReason::kContextLimit);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->reason, FinishReason::kEos);
  EXPECT_EQ(end->output_tokens, std::ssize(Encode(texts[0])) + std::ssize(Encode(texts[1])));
}

// Cut anywhere, published together or apart, read soon or late: an answer says what it says alone.
TEST_F(SeveralAnswersTest, HowStepsAndAnswersInterleaveMakesNoDifference) {
  const uint32_t seed = 20261130;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::vector<std::string> texts = {"é?</think>🦊 so.", "abc", "🦊🦊🦊", "x</think>y", "one two three"};
  for (int round = 0; round < 300; ++round) {
    Request request;
    request.answer.chat = ChatAnswer{.starts_in_reasoning = true};
    const auto stream = Open(static_cast<int>(texts.size()), request);
    std::vector<Ids> left;
    for (const std::string& text : texts) left.push_back(Encode(text));
    size_t num_open = texts.size();
    while (num_open > 0) {
      for (size_t i = 0; i < left.size(); ++i) {
        if (left[i].empty() || random() % 2 == 0) continue;
        const size_t count = std::min<size_t>(left[i].size(), 1 + random() % 3);
        Add(static_cast<int>(i), {left[i].begin(), left[i].begin() + static_cast<ptrdiff_t>(count)});
        left[i].erase(left[i].begin(), left[i].begin() + static_cast<ptrdiff_t>(count));
        if (!left[i].empty()) continue;
        End(static_cast<int>(i), FinishReason::kMaxTokens);
        --num_open;
      }
      if (!step_.empty()) Step();
      if (random() % 2 == 0) Publish();
    }
    Publish();
    const auto [answers, end] = reader_.ReadAnswers(*stream);
    ASSERT_EQ(answers.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      ASSERT_EQ(IdsOf(answers[i]), Encode(texts[i])) << "round " << round;
      const size_t border = texts[i].find("</think>");
      ASSERT_EQ(answers[i].reasoning, texts[i].substr(0, border));
      ASSERT_EQ(answers[i].text, border == std::string::npos ? "" : texts[i].substr(border + 8));
    }
  }
  EXPECT_EQ(metrics_.Snapshot().generated_tokens_discarded, 0u);
}

TEST_F(SeveralAnswersTest, AStopStringCancelsItsSequenceAlone) {
  Request request;
  request.stopping.stop_strings = {"STOP"};
  const auto stream = Open(2, request);
  Add(0, Encode("go on"));
  Add(1, Encode("then STOP it"));
  Publish();
  EXPECT_THAT(effects_.cancel, ElementsAre(Sequence(1)));
  const uint64_t num_surplus = metrics_.Snapshot().generated_tokens_discarded;
  EXPECT_GT(num_surplus, 0u);
  Add(0, Encode(" and on"));
  Add(1, Encode("!"));
  End(1, FinishReason::kCancelled);
  Publish();
  EXPECT_EQ(metrics_.Snapshot().generated_tokens_discarded, num_surplus + 1);
  End(0, FinishReason::kEos);
  Publish();
  EXPECT_THAT(effects_.cancel, ElementsAre(Sequence(1))) << "told once";
  const auto [answers, end] = reader_.ReadAnswers(*stream);
  EXPECT_EQ(answers[0].text, "go on and on");
  EXPECT_EQ(answers[1].text, "then ");
  EXPECT_EQ(answers[1].answer_end->stop_string, "STOP");
  EXPECT_EQ(answers[0].answer_end->stop_string, std::nullopt);
  EXPECT_EQ(end->reason, FinishReason::kEos);
}

TEST_F(SeveralAnswersTest, OnceOneFailedTheRequestHasAndTheOthersSayNoMore) {
  const auto stream = Open(3);
  for (int index = 0; index < 3; ++index) Add(index, Encode("a"));
  End(2, FinishReason::kMaxTokens);
  Publish();
  Add(0, Encode("b"));
  End(1, FinishReason::kNonFiniteLogits);
  Publish();
  Add(0, Encode("c"));
  End(0, FinishReason::kNonFiniteLogits);
  Publish();
  EXPECT_THAT(effects_.ended, ElementsAre(last_id_));
  const auto [answers, end] = reader_.ReadAnswers(*stream);
  EXPECT_EQ(answers[0].text, "ab");
  EXPECT_EQ(end->reason, FinishReason::kNonFiniteLogits);
  EXPECT_EQ(metrics_.Snapshot().generated_tokens_delivered, 4u);
  EXPECT_EQ(metrics_.Snapshot().generated_tokens_discarded, 1u);
}

TEST_F(SeveralAnswersTest, ToolCallsAreCountedInEachAnswer) {
  Request request;
  request.answer.chat = ChatAnswer{.calls_before = 4};
  const auto stream = Open(2, request);
  for (int index = 0; index < 2; ++index) {
    Add(index,
        Encode("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"));
    End(index, FinishReason::kEos);
  }
  Publish();
  for (const StreamChunk& answer : reader_.ReadAnswers(*stream).by_index) {
    ASSERT_EQ(answer.tool_calls.size(), 1u);
    EXPECT_EQ(answer.tool_calls[0].index, 0);
    EXPECT_EQ(answer.tool_calls[0].id, "call_4");
  }
}

TEST_F(SeveralAnswersTest, AFullStreamPausesTheRequest) {
  const auto stream = Open(2, {}, sizeof(StreamToken) + 2);
  Add(0, Encode("a"));
  Publish();
  EXPECT_THAT(effects_.pause, IsEmpty());
  Add(1, Encode("b"));
  Publish();
  ASSERT_EQ(effects_.pause.size(), 1u);
  EXPECT_EQ(effects_.pause[0].id, last_id_);
}

}  // namespace
}  // namespace latentd

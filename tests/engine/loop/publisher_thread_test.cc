// The publisher's own thread against an inbox that the test plays the engine of.
#include "engine/loop/publisher_thread.h"

#include <chrono>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/stream/step_outputs.h"
#include "tests/engine/stream/stream_reader.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

const Tokenizer& TinyTalesTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto loaded = Tokenizer::Load("models/tiny-tales");
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return std::move(*loaded);
  }();
  return *tokenizer;
}

StepOutput Tokens(RequestId id, const std::vector<int32_t>& ids) { return OutputOf(id, ids); }

StepOutput Ended(StepOutput output, FinishReason reason) {
  output.ends.push_back({.id = output.sequences[0].id, .reason = reason});
  return output;
}

void PublishTurn(PublisherThread& publisher, std::vector<StreamOpening> opened, StepOutput output = {}) {
  publisher.Publish(opened, output);
}

class PublisherTest : public testing::Test {
 protected:
  ~PublisherTest() override { publisher_.Stop(); }

  std::shared_ptr<TokenStream> Open(RequestId id, const StoppingRule& stopping, size_t max_pending_bytes = 1 << 20) {
    Request request;
    request.id = id;
    request.stopping = stopping;
    auto stream = std::make_shared<TokenStream>(&reader_, max_pending_bytes);
    PublishTurn(publisher_, {OpeningOf(request, stream)});
    return stream;
  }

  void Publish(StepOutput output) { PublishTurn(publisher_, {}, std::move(output)); }

  // What the publisher asked the engine for, once something came.
  Commands AwaitCommands() {
    inbox_.WaitFor(std::chrono::minutes(1));
    return inbox_.Take();
  }

  static std::vector<int32_t> Encode(std::string_view text) {
    auto ids = TinyTalesTokenizer().Encode(text, SpecialTokens::kAsText);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return *ids;
  }

  Metrics metrics_;
  Inbox inbox_{DoorRules{.most_queued = {.requests = 10, .tokens = 1000}}};
  StreamReader reader_;
  PublisherThread publisher_{&TinyTalesTokenizer(), metrics_};
};

constexpr std::string_view kStory = "Once upon a time there was a little dog. He had a red ball.";

TEST_F(PublisherTest, TokensBecomeText) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {});
  for (int32_t id : Encode(kStory)) Publish(Tokens(1, {id}));
  Publish(Ended(Tokens(1, {}), FinishReason::kMaxTokens));
  const StreamChunk all = reader_.ReadToEnd(*stream);
  EXPECT_EQ(all.text, kStory);
  EXPECT_THAT(IdsOf(all), ElementsAreArray(Encode(kStory)));
  std::string bytes;
  for (const StreamToken& token : all.tokens) bytes += token.bytes;
  EXPECT_EQ(bytes, kStory);
  ASSERT_TRUE(all.end.has_value());
  EXPECT_EQ(all.end->output_tokens, static_cast<int>(Encode(kStory).size()));
}

TEST_F(PublisherTest, FirstTokenStandsAloneHoweverLateItIsPublished) {
  const auto stream = Open(1, {});
  for (int32_t id : Encode(kStory)) Publish(Tokens(1, {id}));
  Publish(Ended(Tokens(1, {}), FinishReason::kMaxTokens));
  publisher_.Start(inbox_);  // only now
  bool was_full = false;
  const std::optional<StreamChunk> first = reader_.AwaitChunk(*stream, &was_full);
  ASSERT_TRUE(first.has_value());
  const StreamChunk rest = reader_.ReadToEnd(*stream);
  EXPECT_EQ(first->tokens_so_far, 1);
  EXPECT_EQ(first->text + rest.text, kStory);
  EXPECT_TRUE(rest.end.has_value());
}

TEST_F(PublisherTest, StopStringCutsTheTextAndCancelsTheSequence) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {.stop_strings = {"never", "dog. He"}});
  for (int32_t id : Encode(kStory)) Publish(Tokens(1, {id}));
  const Commands commands = AwaitCommands();
  ASSERT_EQ(commands.of_requests.count(1), 1u);
  EXPECT_THAT(commands.of_requests.at(1).cancelled, ElementsAre(0));
  EXPECT_FALSE(commands.of_requests.at(1).end.has_value()) << "the request goes on, had it more than one";
  bool was_full = false;
  std::optional<StreamChunk> chunk = reader_.AwaitChunk(*stream, &was_full);
  ASSERT_TRUE(chunk.has_value());
  EXPECT_FALSE(chunk->end.has_value()) << "the engine did not let go of it yet";
  Publish(Ended(Tokens(1, {}), FinishReason::kCancelled));
  const StreamChunk rest = reader_.ReadToEnd(*stream);
  EXPECT_EQ(chunk->text + rest.text, "Once upon a time there was a little ");
  ASSERT_TRUE(rest.end.has_value());
  EXPECT_EQ(rest.end->reason, FinishReason::kStopString);
  EXPECT_EQ(rest.answer_end->stop_string, "dog. He");
  const MetricsData data = metrics_.Snapshot();
  EXPECT_EQ(data.generated_tokens_delivered, static_cast<uint64_t>(rest.end->output_tokens));
  EXPECT_EQ(data.generated_tokens_delivered + data.generated_tokens_discarded, Encode(kStory).size());
  EXPECT_GT(data.generated_tokens_discarded, 0u);
}

TEST_F(PublisherTest, AnEndOfTheRequestThatCameFirstStandsForItsSequences) {
  inbox_.CancelSequence({.request = 1, .index = 0});
  inbox_.Cancel(1, FinishReason::kAborted);
  inbox_.CancelSequence({.request = 1, .index = 1});
  const Commands commands = inbox_.Take();
  EXPECT_THAT(commands.of_requests.at(1).cancelled, ElementsAre(0));
  EXPECT_EQ(commands.of_requests.at(1).end, FinishReason::kAborted);
}

TEST_F(PublisherTest, IncludeStopKeepsTheStopString) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {.stop_strings = {"dog. He"}, .include_stop = true});
  Publish(Ended(Tokens(1, Encode(kStory)), FinishReason::kMaxTokens));
  const StreamChunk all = reader_.ReadToEnd(*stream);
  EXPECT_EQ(all.text, "Once upon a time there was a little dog. He");
  EXPECT_EQ(all.end->reason, FinishReason::kStopString);
  EXPECT_TRUE(inbox_.Take().empty()) << "an ended sequence needs no cancel";
}

TEST_F(PublisherTest, TextHeldBackComesWithTheEnd) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {.stop_strings = {"red ball?"}});
  Publish(Ended(Tokens(1, Encode("a red ball")), FinishReason::kMaxTokens));
  const StreamChunk all = reader_.ReadToEnd(*stream);
  EXPECT_EQ(all.text, "a red ball");
  EXPECT_EQ(all.end->reason, FinishReason::kMaxTokens);
}

TEST_F(PublisherTest, EosIsCountedButHasNoText) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {});
  std::vector<int32_t> ids = Encode("a dog");
  ids.push_back(Encode("!").front());  // any token with text may be declared the end
  Publish(Ended(Tokens(1, ids), FinishReason::kEos));
  const StreamChunk all = reader_.ReadToEnd(*stream);
  EXPECT_EQ(all.text, "a dog");
  EXPECT_EQ(all.end->output_tokens, static_cast<int>(ids.size()));
}

TEST_F(PublisherTest, StopTokenHasTextOnlyWhenAskedFor) {
  publisher_.Start(inbox_);
  std::vector<int32_t> ids = Encode("a dog");
  ids.push_back(*TinyTalesTokenizer().eos_id());  // special: skipped anywhere else
  const auto without = Open(1, {});
  const auto with = Open(2, {.include_stop = true});
  Publish(Ended(Tokens(1, ids), FinishReason::kStopToken));
  EXPECT_EQ(reader_.ReadToEnd(*without).text, "a dog");
  Publish(Ended(Tokens(2, ids), FinishReason::kStopToken));
  EXPECT_EQ(reader_.ReadToEnd(*with).text,
            "a dog" + std::string(TinyTalesTokenizer().TokenBytes(*TinyTalesTokenizer().eos_id())));
}

TEST_F(PublisherTest, FullStreamPausesItsSequence) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {}, 10);
  Publish(Tokens(1, Encode("a dog")));
  const Commands commands = AwaitCommands();
  ASSERT_EQ(commands.of_requests.count(1), 1u);
  EXPECT_EQ(commands.of_requests.at(1).reader, ReaderState::kFull);
  EXPECT_TRUE(stream->full());
}

TEST_F(PublisherTest, OutputOfUnknownSequencesIsIgnored) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {});
  Publish(Ended(Tokens(1, {}), FinishReason::kCancelled));
  EXPECT_TRUE(publisher_.AwaitEnds(1, std::chrono::minutes(1)));
  Publish(Ended(Tokens(1, Encode("late")), FinishReason::kCancelled));
  Publish(Ended(Tokens(7, Encode("who")), FinishReason::kCancelled));
  publisher_.Stop();
  EXPECT_FALSE(publisher_.AwaitEnds(2, Duration::zero()));
  EXPECT_THAT(reader_.ReadToEnd(*stream).tokens, IsEmpty());
}

TEST_F(PublisherTest, AnOutputComesBackEmptyAndWithItsMemory) {
  publisher_.Start(inbox_);
  const auto stream = Open(1, {});
  StepOutput output = Ended(Tokens(1, Encode(kStory)), FinishReason::kMaxTokens);
  const SampleResult* const memory = output.tokens.data();
  std::vector<StreamOpening> opened;
  publisher_.Publish(opened, output);
  EXPECT_TRUE(output.empty());
  reader_.ReadToEnd(*stream);
  publisher_.Stop();  // it gave the memory back by then
  output = Tokens(1, Encode("late"));
  publisher_.Publish(opened, output);
  EXPECT_TRUE(output.empty());
  EXPECT_EQ(output.tokens.data(), memory);
}

TEST_F(PublisherTest, WithoutATokenizerThereAreIds) {
  PublisherThread publisher(nullptr, metrics_);
  publisher.Start(inbox_);
  auto stream = std::make_shared<TokenStream>(&reader_, 1 << 20);
  Request request;
  request.id = 1;
  request.stopping.stop_strings = {"x"};
  PublishTurn(publisher, {OpeningOf(request, stream)}, Ended(Tokens(1, {5, 6}), FinishReason::kMaxTokens));
  const StreamChunk all = reader_.ReadToEnd(*stream);
  publisher.Stop();
  EXPECT_EQ(all.text, "");
  EXPECT_THAT(IdsOf(all), ElementsAre(5, 6));
}

}  // namespace
}  // namespace latentd

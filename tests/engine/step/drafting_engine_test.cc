// The engine with drafts, on the executor without a model: whatever is drafted, each sequence gets what it gets
// without.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/step/engine_harness.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;

constexpr int kVocab = 1000;
constexpr double kAccuracies[] = {0.0, 0.5, 0.9, 1.0};

EngineOptions DraftingEngine() {
  EngineOptions options = SmallEngine();
  options.scheduler.max_drafts = kMaxDrafts;
  options.scheduler.max_step_logits = 300;
  return options;
}

Request Drafting(Request request, int max_drafts) {
  request.max_drafts = max_drafts;
  return request;
}

TEST(DraftingEngine, GivesWhatItGivesWithoutDrafts) {
  for (const double accuracy : kAccuracies) {
    for (const int max_drafts : {0, 1, 2, 3, 8, kAutoDrafts}) {
      SCOPED_TRACE(testing::Message() << accuracy << " of " << max_drafts);
      EngineHarness harness(DraftingEngine(), {.draft_accuracy = accuracy});
      for (RequestId id = 1; id <= 12; ++id) {
        const int length = static_cast<int>(id) * 23 % 200 + 1;
        harness.Add(Drafting(MakeRequest(id, MakePrompt(length, static_cast<int>(id)), 50), max_drafts));
      }
      harness.StepUntilIdle();
      for (RequestId id = 1; id <= 12; ++id) {
        const std::vector<int32_t> prompt = MakePrompt(static_cast<int>(id) * 23 % 200 + 1, static_cast<int>(id));
        EXPECT_THAT(harness.tokens[id], ElementsAreArray(FakeTokens(prompt, 100 + id, 50, kVocab))) << id;
        const SequenceEnd& end = harness.ends.at(id);
        EXPECT_EQ(end.generated_tokens, 50);
        EXPECT_LE(end.accepted_tokens, end.drafted_tokens);
        if (accuracy == 1.0 && max_drafts > 0) {
          EXPECT_GT(end.accepted_tokens, 50 * max_drafts / (max_drafts + 2));
        }
        if (accuracy == 0.0 || max_drafts == 0) {
          EXPECT_EQ(end.accepted_tokens, 0);
        }
      }
      EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 0);
    }
  }
}

TEST(DraftingEngine, TakesFewerStepsWhereDraftsAreRight) {
  const auto steps_with = [](int max_drafts) {
    EngineHarness harness(DraftingEngine(), {.draft_accuracy = 1.0});
    harness.Add(Drafting(MakeRequest(1, MakePrompt(10), 100), max_drafts));
    int num_steps = 0;
    while (!harness.Step().idle()) ++num_steps;
    return num_steps;
  };
  EXPECT_EQ(steps_with(0), 100);
  EXPECT_EQ(steps_with(1), 1 + (99 + 1) / 2);
  EXPECT_EQ(steps_with(3), 1 + (99 + 3) / 4);
}

TEST(DraftingEngine, TokensOfAStepComeTogether) {
  EngineHarness harness(DraftingEngine(), {.draft_accuracy = 1.0});
  harness.Add(Drafting(MakeRequest(1, MakePrompt(10), 100), 3));
  harness.Step();  // the prompt
  const StepOutput output = harness.Step();
  ASSERT_EQ(output.sequences.size(), 1u);
  EXPECT_EQ(output.sequences[0].num_tokens, 4);
  EXPECT_EQ(output.num_tokens, 4);
}

TEST(DraftingEngine, EndsWhereItEndsWithoutDrafts) {
  const std::vector<int32_t> prompt = MakePrompt(10);
  const std::vector<int32_t> tokens = FakeTokens(prompt, 101, 60, kVocab);
  for (size_t at = 1; at < 12; ++at) {
    const std::vector<int32_t> until(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    EngineOptions options = DraftingEngine();
    Request stopping = Drafting(MakeRequest(1, prompt, 60), 4);
    stopping.stopping.stop_token_ids = {tokens[at]};
    EngineHarness stopped(options, {.draft_accuracy = 1.0});
    stopped.Add(stopping);
    stopped.StepUntilIdle();
    EXPECT_THAT(stopped.tokens[1], ElementsAreArray(until));
    EXPECT_EQ(stopped.ends.at(1).reason, FinishReason::kStopToken);
    EXPECT_EQ(stopped.ends.at(1).stop_token_id, tokens[at]);

    options.vocabulary.eos_ids = {tokens[at]};
    EngineHarness ended(options, {.draft_accuracy = 1.0});
    ended.Add(Drafting(MakeRequest(1, prompt, 60), 4));
    ended.StepUntilIdle();
    EXPECT_THAT(ended.tokens[1], ElementsAreArray(until));
    EXPECT_EQ(ended.ends.at(1).reason, FinishReason::kEos);

    EngineHarness limited(DraftingEngine(), {.draft_accuracy = 1.0});
    limited.Add(Drafting(MakeRequest(1, prompt, static_cast<int>(at) + 1), 4));
    limited.StepUntilIdle();
    EXPECT_THAT(limited.tokens[1], ElementsAreArray(until));
    EXPECT_EQ(limited.ends.at(1).reason, FinishReason::kMaxTokens);
  }
}

TEST(DraftingEngine, LogitsThatAreNotFiniteEndItWhereTheyDoWithoutDrafts) {
  EngineHarness harness(DraftingEngine(), {.nonfinite_seed = 101, .draft_accuracy = 1.0});
  harness.Add(Drafting(MakeRequest(1, MakePrompt(10), 60), 4));
  harness.Add(Drafting(MakeRequest(2, MakePrompt(10, 3), 60), 4));
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kNonFiniteLogits);
  EXPECT_EQ(harness.metrics().nonfinite_rows, 1u);
  EXPECT_THAT(harness.tokens[2], ElementsAreArray(FakeTokens(MakePrompt(10, 3), 102, 60, kVocab)));
}

TEST(DraftingEngine, MinTokensAndScoresGoBeside) {
  EngineOptions options = DraftingEngine();
  options.vocabulary.eos_ids = {7, 8, 9};
  EngineHarness harness(options, {.vocab_size = 20, .draft_accuracy = 0.8});
  Request request = Drafting(MakeRequest(1, {3, 4, 5}, 60), 3);
  request.stopping.min_tokens = 30;
  Request score = MakeRequest(2, {1, 2, 3, 4, 5, 6}, 1);
  score.kind = RequestKind::kScore;
  harness.Add(request);
  harness.Add(score);
  harness.StepUntilIdle();
  const std::vector<int32_t> banned = {7, 8, 9};
  const std::vector<int32_t> expected = FakeTokens({3, 4, 5}, 101, 30, 20, banned);
  ASSERT_GE(harness.tokens[1].size(), 30u);
  EXPECT_THAT(std::span(harness.tokens[1]).first(30), ElementsAreArray(expected));
  EXPECT_EQ(harness.ends.at(2).reason, FinishReason::kScored);
  EXPECT_EQ(harness.tokens[2].size(), 5u);
  EXPECT_EQ(harness.ends.at(2).drafted_tokens, 0);
}

}  // namespace
}  // namespace latentd

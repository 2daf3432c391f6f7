#include "engine/step/engine.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/step/engine_harness.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kVocab = 1000;

TEST(Engine, GeneratesWhatTheExecutorSays) {
  EngineHarness harness;
  harness.Add(MakeRequest(1, MakePrompt(10), 70));
  harness.StepUntilIdle();
  EXPECT_THAT(harness.tokens[1], ElementsAreArray(FakeTokens(MakePrompt(10), 101, 70, kVocab)));
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kMaxTokens);
  EXPECT_EQ(harness.ends.at(1).prompt_tokens, 10);
  EXPECT_EQ(harness.ends.at(1).generated_tokens, 70);
  EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 0);
}

// The five equalities' first two, and physical blocks: 12 requests of ragged lengths in one engine, each as if alone.
void ExpectSameAsAlone(const EngineOptions& options) {
  EngineHarness harness(options);
  for (RequestId id = 1; id <= 12; ++id) {
    harness.Add(MakeRequest(id, MakePrompt(static_cast<int>(id) * 23 % 200 + 1, static_cast<int>(id)), 50));
  }
  harness.StepUntilIdle();
  for (RequestId id = 1; id <= 12; ++id) {
    const std::vector<int32_t> prompt = MakePrompt(static_cast<int>(id) * 23 % 200 + 1, static_cast<int>(id));
    EXPECT_THAT(harness.tokens[id], ElementsAreArray(FakeTokens(prompt, 100 + id, 50, kVocab))) << id;
  }
}

TEST(Engine, NeighboursDoNotChangeTheOutput) { ExpectSameAsAlone(SmallEngine()); }

TEST(Engine, ChunksDoNotChangeTheOutput) {
  for (int chunk_tokens : {1, 7, 63, 64, 65, 199}) {
    SCOPED_TRACE(testing::Message() << "chunk_tokens " << chunk_tokens);
    EngineOptions options = SmallEngine();
    options.scheduler.chunk_tokens = chunk_tokens;
    ExpectSameAsAlone(options);
  }
}

TEST(Engine, PhysicalBlocksDoNotChangeTheOutput) {
  for (uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE(testing::Message() << "shuffle_seed " << seed);
    EngineOptions options = SmallEngine();
    options.scheduler.cache.shuffle_seed = seed;
    ExpectSameAsAlone(options);
  }
}

TEST(Engine, SmallStepsDoNotChangeTheOutput) {
  EngineOptions options = SmallEngine();
  options.scheduler.max_step_tokens = 9;
  options.scheduler.max_step_rows = 5;
  options.scheduler.max_step_logits = 2;
  ExpectSameAsAlone(options);
}

TEST(Engine, FirstTokenComesBeforeTheRestIsComputed) {
  EngineHarness harness;
  harness.Add(MakeRequest(1, MakePrompt(10), 500));
  harness.Step();
  EXPECT_THAT(harness.tokens[1], SizeIs(1));
  EXPECT_THAT(harness.ends, IsEmpty());
  EXPECT_EQ(harness.in_flight(Phase::kDecode), 1);
}

TEST(Engine, BatchesAllThatDecode) {
  int most_rows = 0;
  EngineHarness harness(SmallEngine(), {.on_launch = [&](const BatchInputs& batch, std::span<const SampleRow>) {
                          most_rows = std::max(most_rows, static_cast<int>(batch.rows.size()));
                        }});
  for (RequestId id = 1; id <= 32; ++id) harness.Add(MakeRequest(id, MakePrompt(20), 30));
  harness.StepUntilIdle();
  EXPECT_EQ(most_rows, 32);
}

// The first token of this continuation that was not drawn before, so that it can end the sequence there.
size_t FirstNewAfter(const std::vector<int32_t>& tokens, size_t from) {
  for (size_t i = from; i < tokens.size(); ++i) {
    if (std::find(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(i), tokens[i]) ==
        tokens.begin() + static_cast<ptrdiff_t>(i)) {
      return i;
    }
  }
  return tokens.size();
}

TEST(Engine, EosEndsUnlessIgnored) {
  const std::vector<int32_t> alone = FakeTokens(MakePrompt(5), 101, 40, kVocab);
  const size_t at = FirstNewAfter(alone, 10);
  EngineOptions options = SmallEngine();
  options.vocabulary.eos_ids = {alone[at]};
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(5), 40));
  Request ignoring = MakeRequest(2, MakePrompt(5), 40);
  ignoring.sampling.seed = 101;
  ignoring.stopping.ignore_eos = true;
  harness.Add(ignoring);
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kEos);
  EXPECT_EQ(harness.ends.at(1).stop_token_id, alone[at]);
  EXPECT_THAT(harness.tokens[1], SizeIs(at + 1));
  EXPECT_EQ(harness.ends.at(2).reason, FinishReason::kMaxTokens);
  EXPECT_THAT(harness.tokens[2], ElementsAreArray(alone));
}

TEST(Engine, StopTokenEnds) {
  const std::vector<int32_t> alone = FakeTokens(MakePrompt(5), 101, 40, kVocab);
  const size_t at = FirstNewAfter(alone, 20);
  EngineHarness harness;
  Request request = MakeRequest(1, MakePrompt(5), 40);
  request.stopping.stop_token_ids = {alone[at]};
  harness.Add(request);
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kStopToken);
  EXPECT_EQ(harness.ends.at(1).generated_tokens, static_cast<int>(at) + 1);
}

TEST(Engine, MinTokensBansEndAndStopTokensBefore) {
  EngineOptions options = SmallEngine();
  options.vocabulary.eos_ids = {0, 1, 2};
  EngineHarness harness(options, {.vocab_size = 5});
  Request request = MakeRequest(1, MakePrompt(5), 100);
  request.stopping.stop_token_ids = {3};
  request.stopping.min_tokens = 10;
  harness.Add(request);
  harness.StepUntilIdle();
  ASSERT_GE(harness.tokens[1].size(), 10u);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(harness.tokens[1][i], 4) << i;
  EXPECT_NE(harness.ends.at(1).reason, FinishReason::kMaxTokens);
}

TEST(Engine, ContextEndsTheOutput) {
  EngineOptions options = SmallEngine();
  options.scheduler.max_context_tokens = 100;
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(90), 50));
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kContextLimit);
  EXPECT_THAT(harness.tokens[1], ElementsAreArray(FakeTokens(MakePrompt(90), 101, 10, kVocab)));
}

TEST(Engine, NonFiniteRowFailsOnlyItsRequest) {
  EngineHarness harness(SmallEngine(), {.nonfinite_seed = 102});
  for (RequestId id = 1; id <= 3; ++id) harness.Add(MakeRequest(id, MakePrompt(10), 20));
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(2).reason, FinishReason::kNonFiniteLogits);
  EXPECT_THAT(harness.tokens[2], IsEmpty());
  for (RequestId id : {1u, 3u}) {
    EXPECT_THAT(harness.tokens[id], ElementsAreArray(FakeTokens(MakePrompt(10), 100 + id, 20, kVocab)));
  }
  EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 0);
}

TEST(Engine, ScoreGivesEachPromptTokenItsLogprob) {
  EngineOptions options = SmallEngine();
  options.scheduler.max_step_logits = 33;
  options.scheduler.chunk_tokens = 50;
  EngineHarness harness(options);
  Request request = MakeRequest(1, MakePrompt(200), 0);
  request.kind = RequestKind::kScore;
  request.answer.num_prompt_logprobs = 3;
  harness.Add(request);
  harness.Add(MakeRequest(2, MakePrompt(10), 20));
  std::vector<float> logprobs;
  for (StepOutput output = harness.Step(); !output.idle(); output = harness.Step()) {
    EXPECT_LE(output.num_tokens, 51);
    for (const SequenceOutput& sequence : output.sequences) {
      if (sequence.id.request != 1) continue;
      for (const SampleResult& token : output.TokensOf(sequence)) {
        logprobs.push_back(token.logprob);
        EXPECT_THAT(token.top, SizeIs(3));
      }
    }
  }
  const std::vector<int32_t> prompt = MakePrompt(200);
  EXPECT_THAT(logprobs, ElementsAreArray(FakeScores(prompt)));
  EXPECT_THAT(harness.tokens[1], ElementsAreArray(std::span(prompt).subspan(1)));
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kScored);
  EXPECT_EQ(harness.ends.at(1).generated_tokens, 0);
  EXPECT_THAT(harness.tokens[2], ElementsAreArray(FakeTokens(MakePrompt(10), 102, 20, kVocab)));
}

TEST(Engine, ScoreOfOneTokenEndsWithoutAny) {
  EngineHarness harness;
  Request request = MakeRequest(1, {7}, 0);
  request.kind = RequestKind::kScore;
  harness.Add(request);
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kScored);
  EXPECT_THAT(harness.tokens[1], IsEmpty());
}

TEST(Engine, CancelledSequenceIsNotComputedAgain) {
  EngineHarness harness;
  for (RequestId id = 1; id <= 2; ++id) harness.Add(MakeRequest(id, MakePrompt(10), 20));
  harness.Step();
  harness.engine().Cancel(1);
  EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 1);
  const StepOutput output = harness.Step();
  EXPECT_EQ(output.num_rows, 1);
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kCancelled);
  EXPECT_EQ(harness.ends.at(1).generated_tokens, 1);
  harness.StepUntilIdle();
  EXPECT_THAT(harness.tokens[2], ElementsAreArray(FakeTokens(MakePrompt(10), 102, 20, kVocab)));
}

TEST(Engine, CancelInFlightGivesNothingOfTheStep) {
  EngineHarness harness;
  for (RequestId id = 1; id <= 2; ++id) harness.Add(MakeRequest(id, MakePrompt(10), 20));
  harness.Step();
  std::optional<StepInFlight> step = harness.engine().Begin(harness.now());
  harness.engine().Cancel(1);
  EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 2) << "the step may still write into its blocks";
  const StepOutput output = harness.Complete(std::move(step));
  EXPECT_EQ(output.num_rows, 2);
  EXPECT_EQ(harness.engine().scheduler().cache().num_held(), 1);
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kCancelled);
  EXPECT_EQ(harness.ends.at(1).generated_tokens, 1);
  EXPECT_THAT(harness.tokens[1], SizeIs(1));
  EXPECT_EQ(harness.ends.at(1).timings.released, harness.now()) << "once nothing writes there any more";
  harness.StepUntilIdle();
  EXPECT_THAT(harness.tokens[2], ElementsAreArray(FakeTokens(MakePrompt(10), 102, 20, kVocab)));
}

TEST(Engine, ASecondStepMustWaitForTheFirst) {
  EngineHarness harness;
  harness.Add(MakeRequest(1, MakePrompt(10), 20));
  std::optional<StepInFlight> step = harness.engine().Begin(harness.now());
  EXPECT_DEATH(harness.engine().Begin(harness.now()), "give each its own buffers");
  harness.Complete(std::move(step));
}

TEST(Engine, SlowStepsGetFewerTokens) {
  EngineOptions options = SmallEngine();
  options.step.max_step_seconds = 0.005;  // the harness's steps take 10 ms each
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(500), 1));
  EXPECT_EQ(harness.Step().num_tokens, 64);
  EXPECT_EQ(harness.Step().num_tokens, 32);
  EXPECT_EQ(harness.Step().num_tokens, 16) << "slow twice is no accident";
  EXPECT_EQ(harness.Step().num_tokens, 16) << "the least";
}

TEST(Engine, EachRunningSequenceGetsItsTokenInASlowStep) {
  EngineOptions options = SmallEngine();
  options.step.max_step_seconds = 1e-6;
  EngineHarness harness(options);
  for (RequestId id = 1; id <= 40; ++id) harness.Add(MakeRequest(id, MakePrompt(1), 100));
  while (harness.engine().scheduler().num_waiting() > 0) harness.Step();
  EXPECT_EQ(harness.Step().num_rows, 40);
}

TEST(Engine, MetricsFollowTheSequences) {
  EngineOptions options = SmallEngine();
  options.scheduler.max_step_tokens = 100;
  options.step.max_step_seconds = std::numeric_limits<double>::infinity();
  EngineHarness harness(options);
  harness.Add(MakeRequest(1, MakePrompt(70), 3));
  harness.Add(MakeRequest(2, MakePrompt(80, 1), 3));
  harness.Add(MakeRequest(3, MakePrompt(80, 2), 3));
  harness.Step();
  EXPECT_EQ(harness.in_flight(Phase::kQueued), 1);
  EXPECT_EQ(harness.in_flight(Phase::kPrefill), 1);
  EXPECT_EQ(harness.in_flight(Phase::kDecode), 1);
  EXPECT_EQ(harness.metrics().prompt_tokens_computed, 100u);
  EXPECT_EQ(harness.metrics().kv_blocks_active, 3);
  harness.engine().Cancel(3);
  harness.StepUntilIdle();
  const MetricsData data = harness.metrics();
  EXPECT_EQ(harness.in_flight(Phase::kOutput), 3);
  EXPECT_EQ(harness.in_flight(Phase::kQueued) + harness.in_flight(Phase::kPrefill) + harness.in_flight(Phase::kDecode),
            0);
  EXPECT_EQ(data.prompt_tokens_computed, 150u);
  EXPECT_EQ(data.kv_blocks_active, 0);
  EXPECT_EQ(data.kv_blocks_free + data.kv_blocks_cached, 100);
  EXPECT_DOUBLE_EQ(data.step_tokens.sum(), 150 + 2 + 2);
}

TEST(Engine, DescribesEachSequenceInItsPhase) {
  EngineOptions options = SmallEngine();
  options.scheduler.max_step_tokens = 70;
  options.scheduler.max_step_rows = 2;
  EngineHarness harness(options);
  const TimePoint start = harness.now();
  harness.Add(MakeRequest(1, MakePrompt(10), 5));
  harness.Step();
  harness.Add(MakeRequest(2, MakePrompt(100, 1), 5));
  harness.Add(MakeRequest(3, MakePrompt(20, 2), 5));
  harness.Step();
  const std::vector<SequenceStatus> all = harness.engine().Describe();
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].id.request, 1u);
  EXPECT_EQ(all[0].phase, Phase::kDecode);
  EXPECT_EQ(all[0].phase_began, start + std::chrono::milliseconds(10));
  EXPECT_EQ(all[0].prompt_tokens, 10);
  EXPECT_EQ(all[0].computed_tokens, 11);
  EXPECT_EQ(all[0].generated_tokens, 2);
  EXPECT_EQ(all[0].kv_blocks, 1);
  EXPECT_EQ(all[1].phase, Phase::kPrefill);
  EXPECT_EQ(all[1].phase_began, start + std::chrono::milliseconds(10));
  EXPECT_GT(all[1].computed_tokens, 0);
  EXPECT_LT(all[1].computed_tokens, 100);
  EXPECT_EQ(all[2].phase, Phase::kQueued);
  EXPECT_EQ(all[2].kv_blocks, 0);
  harness.StepUntilIdle();
  EXPECT_THAT(harness.engine().Describe(), SizeIs(0));
}

TEST(Engine, EndsCarryTheirTimes) {
  EngineHarness harness;
  const TimePoint start = harness.now();
  harness.Add(MakeRequest(1, MakePrompt(10), 3));
  harness.StepUntilIdle();
  const SequenceTimings& timings = harness.ends.at(1).timings;
  EXPECT_EQ(timings.received, start);
  EXPECT_EQ(timings.first_scheduled, start);
  EXPECT_EQ(timings.first_token, start + std::chrono::milliseconds(10));
  EXPECT_EQ(timings.finished, start + std::chrono::milliseconds(30));
}

TEST(Engine, DeadlineEndsWithItsPhase) {
  EngineHarness harness;
  Request request = MakeRequest(1, MakePrompt(10), 100);
  request.deadline = harness.now() + std::chrono::milliseconds(25);
  harness.Add(request);
  harness.StepUntilIdle();
  EXPECT_EQ(harness.ends.at(1).reason, FinishReason::kExpiredInDecode);
  EXPECT_THAT(harness.tokens[1], SizeIs(3));
}

}  // namespace
}  // namespace latentd

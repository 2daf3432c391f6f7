#include "engine/step/batch_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"
#include "tests/engine/step/engine_harness.h"

namespace latentd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class BatchBuilderTest : public testing::Test {
 protected:
  // Two rows: a decode of `first` at position 65 and the prompt of `second`.
  void BuildTwoRows(const Request& first, const Request& second) {
    ASSERT_TRUE(scheduler_.Add(first).ok());
    BatchPlan plan;
    scheduler_.Plan({}, {.tokens = 1000}, plan);
    scheduler_.Commit(plan);
    plan.rows[0].sequence->tokens.push_back(77);
    ASSERT_TRUE(scheduler_.Add(second).ok());
    scheduler_.Plan({}, {.tokens = 1000}, plan);
    builder_.Build(plan);
  }

  Scheduler scheduler_{{.cache = {.num_blocks = 20}, .max_context_tokens = 512}};
  VocabularyRules rules_{.eos_ids = {8, 9}, .has_token = {1, 1, 0}};
  BatchBuilder builder_{rules_};
};

TEST_F(BatchBuilderTest, LaysRowsOutOneAfterTheOther) {
  BuildTwoRows(MakeRequest(1, MakePrompt(65), 5), MakeRequest(2, {40, 41, 42}, 5));
  const BatchInputs& inputs = builder_.inputs();
  EXPECT_THAT(inputs.token_ids, ElementsAre(77, 40, 41, 42));
  EXPECT_THAT(inputs.positions, ElementsAre(65, 0, 1, 2));
  EXPECT_THAT(inputs.blocks, ElementsAre(1, 2, 3));
  EXPECT_THAT(inputs.slots, ElementsAre(2 * 64 + 1, 3 * 64, 3 * 64 + 1, 3 * 64 + 2));
  EXPECT_THAT(inputs.token_rows, ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(inputs.max_context(), 66);
  ASSERT_EQ(inputs.rows.size(), 2u);
  EXPECT_EQ(inputs.rows[0].num_tokens, 1);
  EXPECT_EQ(inputs.rows[0].first_position, 65);
  EXPECT_EQ(inputs.rows[0].first_block, 0);
  EXPECT_EQ(inputs.rows[1].first_token, 1);
  EXPECT_EQ(inputs.rows[1].num_tokens, 3);
  EXPECT_EQ(inputs.rows[1].first_block, 2);
  EXPECT_THAT(inputs.logit_tokens, ElementsAre(0, 3));
  ASSERT_EQ(builder_.samples().size(), 2u);
  EXPECT_EQ(builder_.samples()[0].position, 66u);
  EXPECT_EQ(builder_.samples()[1].position, 3u);
}

TEST_F(BatchBuilderTest, PassesSamplingParametersOn) {
  Request first = MakeRequest(1, MakePrompt(65), 5);
  first.sampling = {.temperature = 0.5f,
                    .top_k = 3,
                    .top_p = 0.9f,
                    .min_p = 0.1f,
                    .presence_penalty = 0.2f,
                    .frequency_penalty = 0.3f,
                    .repetition_penalty = 1.4f,
                    .seed = 12345};
  first.logit_bias = {{5, 1.5f}, {6, -2.0f}};
  first.allowed = {0b110000};
  first.answer.num_top_logprobs = 7;
  Request second = MakeRequest(2, {40}, 5);
  second.logit_bias = {{9, 3.0f}};
  BuildTwoRows(first, second);
  const SampleRow& row = builder_.samples()[0];
  EXPECT_EQ(row.rule.temperature, 0.5f);
  EXPECT_EQ(row.rule.top_k, 3);
  EXPECT_EQ(row.rule.top_p, 0.9f);
  EXPECT_EQ(row.rule.min_p, 0.1f);
  EXPECT_EQ(row.rule.presence_penalty, 0.2f);
  EXPECT_EQ(row.rule.frequency_penalty, 0.3f);
  EXPECT_EQ(row.rule.repetition_penalty, 1.4f);
  EXPECT_EQ(row.rule.seed, 12345u);
  EXPECT_EQ(row.tokens.size(), 66u);
  EXPECT_EQ(row.tokens.back(), 77);
  EXPECT_EQ(row.num_prompt_tokens, 65);
  ASSERT_EQ(row.logit_bias.size(), 2u);
  EXPECT_EQ(row.logit_bias[1].id, 6);
  EXPECT_EQ(row.logit_bias[1].bias, -2.0f);
  EXPECT_THAT(row.allowed, ElementsAre(0b110000u));
  EXPECT_THAT(row.has_token, ElementsAre(1, 1, 0));
  EXPECT_EQ(row.num_top_logprobs, 7);
  EXPECT_EQ(row.scored_id, -1);
  ASSERT_EQ(builder_.samples()[1].logit_bias.size(), 1u);
  EXPECT_EQ(builder_.samples()[1].logit_bias[0].id, 9);
}

TEST_F(BatchBuilderTest, BansEndAndStopTokensBeforeMinTokens) {
  Request first = MakeRequest(1, MakePrompt(65), 5);
  first.stopping.min_tokens = 2;
  first.stopping.stop_token_ids = {4};
  Request second = first;
  second.id = 2;
  second.stopping.ignore_eos = true;
  BuildTwoRows(first, second);
  EXPECT_THAT(builder_.samples()[0].banned_ids, ElementsAre(8, 9, 4));
  EXPECT_THAT(builder_.samples()[1].banned_ids, ElementsAre(4));
}

TEST_F(BatchBuilderTest, BansNothingFromMinTokensOn) {
  Request first = MakeRequest(1, MakePrompt(65), 5);
  first.stopping.min_tokens = 1;
  BuildTwoRows(first, MakeRequest(2, {40}, 5));
  EXPECT_THAT(builder_.samples()[0].banned_ids, IsEmpty());
  EXPECT_THAT(builder_.samples()[1].banned_ids, IsEmpty());
}

TEST_F(BatchBuilderTest, ScoreAsksForTheTokenThatFollows) {
  Request score = MakeRequest(2, {40, 41, 42}, 0);
  score.kind = RequestKind::kScore;
  score.answer.num_prompt_logprobs = 4;
  BuildTwoRows(MakeRequest(1, MakePrompt(65), 5), score);
  EXPECT_THAT(builder_.inputs().logit_tokens, ElementsAre(0, 1, 2));
  ASSERT_EQ(builder_.samples().size(), 3u);
  EXPECT_EQ(builder_.samples()[1].scored_id, 41);
  EXPECT_EQ(builder_.samples()[2].scored_id, 42);
  EXPECT_EQ(builder_.samples()[2].num_top_logprobs, 4);
}

}  // namespace
}  // namespace latentd

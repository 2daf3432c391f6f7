// Decode steps filled up to the sizes that a device records.
#include "engine/step/step_padding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;

// Two rows that add one token each, at positions 65 and 3.
BatchInputs TwoDecodes() {
  BatchInputs inputs;
  inputs.token_ids = {77, 40};
  inputs.positions = {65, 3};
  inputs.slots = {2 * 64 + 1, 5 * 64 + 3};
  inputs.token_rows = {0, 1};
  inputs.rows = {{.first_token = 0, .num_tokens = 1, .first_position = 65, .first_block = 0},
                 {.first_token = 1, .num_tokens = 1, .first_position = 3, .first_block = 2}};
  inputs.blocks = {1, 2, 5};
  inputs.logit_tokens = {0, 1};
  return inputs;
}

TEST(StepPadding, AppendsRowsThatAreStoredNowhere) {
  StepPadding padding;
  const std::vector<SampleRow> samples = {{.rule = {.temperature = 0.7f}}, {.rule = {.temperature = 0.2f}}};
  padding.Fill(TwoDecodes(), samples, 4);
  const BatchInputs& inputs = padding.inputs();
  EXPECT_THAT(inputs.token_ids, ElementsAre(77, 40, 0, 0));
  EXPECT_THAT(inputs.positions, ElementsAre(65, 3, 0, 0));
  EXPECT_THAT(inputs.slots, ElementsAre(129, 323, kNoSlot, kNoSlot));
  EXPECT_THAT(inputs.token_rows, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(inputs.logit_tokens, ElementsAre(0, 1, 2, 3));
  ASSERT_EQ(inputs.rows.size(), 4u);
  EXPECT_EQ(inputs.blocks[static_cast<size_t>(inputs.rows[3].first_block)], 0) << "the scratch block";
  EXPECT_EQ(inputs.rows[3].first_position, 0);
  EXPECT_EQ(inputs.max_context(), 66);
  ASSERT_EQ(padding.samples().size(), 4u);
  EXPECT_EQ(padding.samples()[1].rule.temperature, 0.2f);
  EXPECT_EQ(padding.samples()[3].rule.temperature, 0.0f);
}

TEST(StepPadding, ForgetsTheStepBefore) {
  StepPadding padding;
  padding.Fill(TwoDecodes(), std::vector<SampleRow>(2), 8);
  padding.Fill(TwoDecodes(), std::vector<SampleRow>(2), 2);
  EXPECT_EQ(padding.inputs().num_tokens(), 2);
  EXPECT_EQ(padding.samples().size(), 2u);
}

// A row that verifies a draft behind position 65, and one behind position 3.
BatchInputs TwoVerifications() {
  BatchInputs inputs;
  inputs.token_ids = {77, 78, 40, 41};
  inputs.positions = {65, 66, 3, 4};
  inputs.slots = {2 * 64 + 1, 2 * 64 + 2, 5 * 64 + 3, 5 * 64 + 4};
  inputs.token_rows = {0, 0, 1, 1};
  inputs.rows = {{.first_token = 0, .num_tokens = 2, .first_position = 65, .first_block = 0},
                 {.first_token = 2, .num_tokens = 2, .first_position = 3, .first_block = 2}};
  inputs.blocks = {1, 2, 5};
  inputs.logit_tokens = {0, 1, 2, 3};
  return inputs;
}

TEST(StepPadding, AppendsRowsOfAsManyTokens) {
  StepPadding padding;
  padding.Fill(TwoVerifications(), std::vector<SampleRow>(4), 3);
  const BatchInputs& inputs = padding.inputs();
  EXPECT_EQ(inputs.rows.size(), 3u);
  EXPECT_EQ(inputs.num_tokens(), 6);
  EXPECT_EQ(inputs.positions[5], 1);
  EXPECT_EQ(inputs.slots[5], kNoSlot);
  EXPECT_EQ(inputs.token_rows[5], 2);
  EXPECT_THAT(inputs.logit_tokens, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(padding.samples().size(), 6u);
}

TEST(StepPadding, EqualRowsThatAreSampledThroughoutHaveAShape) {
  EXPECT_EQ(TokensPerRow(TwoDecodes()), 1);
  EXPECT_EQ(TokensPerRow(TwoVerifications()), 2);
  EXPECT_EQ(TokensPerRow(BatchInputs()), 0);
  BatchInputs unsampled = TwoDecodes();
  unsampled.logit_tokens = {0};
  EXPECT_EQ(TokensPerRow(unsampled), 0);
  BatchInputs unequal = TwoVerifications();
  unequal.rows[0].num_tokens = 3;
  unequal.rows[1].num_tokens = 1;
  EXPECT_EQ(TokensPerRow(unequal), 0);
}

}  // namespace
}  // namespace latentd

#include "engine/step/draft_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SampleResult Drawn(int32_t id) { return {.id = id, .top = {}}; }

// A chunk of a prompt at positions 62 to 64, and a row that verifies the drafts 21 and 22 behind the token 20 at
// position 5.
class DraftBatchTest : public testing::Test {
 protected:
  DraftBatchTest() {
    step_ = {.copies = {},
             .token_ids = {100, 101, 102, 20, 21, 22},
             .positions = {62, 63, 64, 5, 6, 7},
             .slots = {4 * 64 + 62, 4 * 64 + 63, 7 * 64, 3 * 64 + 5, 3 * 64 + 6, 3 * 64 + 7},
             .token_rows = {0, 0, 0, 1, 1, 1},
             .rows = {{.first_token = 0, .num_tokens = 3, .first_position = 62, .first_block = 0},
                      {.first_token = 3, .num_tokens = 3, .first_position = 5, .first_block = 2}},
             .blocks = {4, 7, 3},
             .logit_tokens = {3, 4, 5},
             .hidden_rows = {}};
  }

  static DraftRow Chunk() { return {.row = 0, .first_key = 1, .end_position = 128, .next_id = 103}; }
  static DraftRow Verifying(int num_drafts, SampleRow sample = {}) {
    return {.row = 1,
            .first_key = 2,
            .end_position = 64,
            .first_sample = 0,
            .num_verified = 2,
            .num_drafts = num_drafts,
            .sample = sample};
  }

  // The first pass, behind a step that drew these.
  void Begin(std::vector<DraftRow> rows, std::vector<SampleResult> drawn) {
    rows_ = std::move(rows);
    batch_.Begin(step_, rows_, drawn);
  }

  BatchInputs step_;
  std::vector<DraftRow> rows_;
  DraftBatch batch_;
};

TEST_F(DraftBatchTest, AChunkIsFollowedByTheTokensBehindIt) {
  Begin({Chunk()}, {});
  const BatchInputs& pass = batch_.inputs();
  EXPECT_THAT(pass.token_ids, ElementsAre(101, 102, 103));
  EXPECT_THAT(pass.positions, ElementsAre(63, 64, 65));
  EXPECT_THAT(pass.slots, ElementsAre(4 * 64 + 63, 7 * 64, 7 * 64 + 1));
  EXPECT_THAT(pass.hidden_rows, ElementsAre(0, 1, 2));
  EXPECT_THAT(pass.token_rows, ElementsAre(0, 0, 0));
  ASSERT_EQ(pass.rows.size(), 1u);
  EXPECT_EQ(pass.rows[0].first_position, 63);
  EXPECT_EQ(pass.rows[0].first_key, 1);
  EXPECT_THAT(pass.blocks, ElementsAre(4, 7));
  EXPECT_THAT(pass.logit_tokens, IsEmpty());
  batch_.Take({});
  EXPECT_FALSE(batch_.has_pass());
  EXPECT_EQ(batch_.drafts()[0].count, 0);
}

TEST_F(DraftBatchTest, WhatWasDrawnTakesThePlaceOfARejectedDraft) {
  Begin({Verifying(1)}, {Drawn(21), Drawn(33), Drawn(34)});
  EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(21, 33));
  EXPECT_THAT(batch_.inputs().positions, ElementsAre(6, 7));
  EXPECT_THAT(batch_.inputs().hidden_rows, ElementsAre(3, 4));
  EXPECT_THAT(batch_.inputs().logit_tokens, ElementsAre(1));
  ASSERT_EQ(batch_.samples().size(), 1u);
  EXPECT_EQ(batch_.samples()[0].position, 8u);
}

TEST_F(DraftBatchTest, AllTokensStayWhereEachDraftWasDrawn) {
  Begin({Verifying(1)}, {Drawn(21), Drawn(22), Drawn(34)});
  EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(21, 22, 34));
  EXPECT_EQ(batch_.samples()[0].position, 9u);
}

TEST_F(DraftBatchTest, PassesGoOnFromTheirOwnStates) {
  Begin({Chunk(), Verifying(3)}, {Drawn(30), Drawn(0), Drawn(0)});
  EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(101, 102, 103, 30));
  EXPECT_THAT(batch_.inputs().hidden_rows, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(batch_.inputs().logit_tokens, ElementsAre(3));
  for (int pass = 0; pass < 2; ++pass) {
    batch_.Take(std::vector{Drawn(40 + pass)});
    EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(40 + pass));
    EXPECT_THAT(batch_.inputs().positions, ElementsAre(7 + pass));
    EXPECT_THAT(batch_.inputs().slots, ElementsAre(3 * 64 + 7 + pass));
    EXPECT_THAT(batch_.inputs().hidden_rows, ElementsAre(0)) << "of the logit rows before";
    EXPECT_EQ(batch_.inputs().rows[0].first_key, 2);
    EXPECT_EQ(batch_.samples()[0].position, 8u + static_cast<uint32_t>(pass));
  }
  batch_.Take(std::vector{Drawn(42)});
  EXPECT_FALSE(batch_.has_pass());
  EXPECT_THAT(batch_.drafts()[0].view(), IsEmpty());
  EXPECT_THAT(batch_.drafts()[1].view(), ElementsAre(40, 41, 42));
}

TEST_F(DraftBatchTest, ARowThatIsThroughLeavesThePass) {
  step_.rows.push_back({.first_token = 6, .num_tokens = 1, .first_position = 0, .first_block = 3});
  step_.token_ids.push_back(50);
  step_.blocks.push_back(9);
  const DraftRow other{.row = 2, .first_key = 1, .end_position = 64, .first_sample = 3, .num_drafts = 2};
  Begin({Verifying(1), other}, {Drawn(30), Drawn(0), Drawn(0), Drawn(51)});
  EXPECT_THAT(batch_.inputs().logit_tokens, ElementsAre(0, 1));
  batch_.Take(std::vector{Drawn(40), Drawn(60)});
  EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(60));
  EXPECT_THAT(batch_.inputs().hidden_rows, ElementsAre(1));
  EXPECT_THAT(batch_.inputs().slots, ElementsAre(9 * 64 + 2));
  batch_.Take(std::vector{Drawn(61)});
  EXPECT_THAT(batch_.drafts()[0].view(), ElementsAre(40));
  EXPECT_THAT(batch_.drafts()[1].view(), ElementsAre(60, 61));
}

TEST_F(DraftBatchTest, NothingIsStoredOrDraftedBehindTheTable) {
  DraftRow row = Verifying(3);
  row.end_position = 8;  // of the drafts behind position 7 none has a slot
  Begin({row}, {Drawn(21), Drawn(30), Drawn(0)});
  EXPECT_THAT(batch_.inputs().positions, ElementsAre(6, 7));
  batch_.Take(std::vector{Drawn(40)});
  EXPECT_FALSE(batch_.has_pass());
  EXPECT_THAT(batch_.drafts()[0].view(), ElementsAre(40)) << "a draft itself is not computed here";

  row.end_position = 7;  // nor has the token that was drawn
  Begin({row}, {Drawn(21), Drawn(30), Drawn(0)});
  EXPECT_THAT(batch_.inputs().positions, ElementsAre(6));
  EXPECT_THAT(batch_.inputs().logit_tokens, IsEmpty());
}

TEST_F(DraftBatchTest, NothingFollowsLogitsThatAreNotFinite) {
  Begin({Verifying(2)}, {Drawn(21), {.finite = false, .top = {}}, Drawn(0)});
  EXPECT_THAT(batch_.inputs().token_ids, ElementsAre(21));
  EXPECT_THAT(batch_.inputs().logit_tokens, IsEmpty());
  Begin({Verifying(2)}, {Drawn(30), Drawn(0), Drawn(0)});
  batch_.Take(std::vector<SampleResult>{{.finite = false, .top = {}}});
  EXPECT_FALSE(batch_.has_pass());
  EXPECT_EQ(batch_.drafts()[0].count, 0);
}

TEST_F(DraftBatchTest, DrawsLookBackOnWhatWasAcceptedAndDrafted) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 20};
  const SampleRow sample{
      .rule = {.presence_penalty = 1.0f, .seed = 7}, .index = 3, .tokens = tokens, .num_prompt_tokens = 5};
  Begin({Verifying(2, sample)}, {Drawn(21), Drawn(30), Drawn(0)});
  EXPECT_THAT(batch_.samples()[0].tokens, ElementsAre(1, 2, 3, 4, 5, 20));
  EXPECT_THAT(batch_.samples()[0].further, ElementsAre(21, 30));
  EXPECT_EQ(batch_.samples()[0].num_prompt_tokens, 5);
  EXPECT_EQ(batch_.samples()[0].index, 3u);
  EXPECT_EQ(batch_.samples()[0].rule.seed, 7u);
  batch_.Take(std::vector{Drawn(40)});
  EXPECT_THAT(batch_.samples()[0].further, ElementsAre(21, 30, 40));
  EXPECT_EQ(batch_.samples()[0].position, 9u);
}

}  // namespace
}  // namespace latentd

// Drafts beside what is reused or computed again: prefixes that are found, with all slots of the layer that predicts
// further tokens or with holes there, and sequences that lose their place while drafts of theirs wait to be verified.
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/speculation/drafting.h"

namespace latentd {
namespace {

constexpr int kDrafts = 3, kChunk = 20, kBlocks = 4;

class DraftedReuse : public Drafting {
 protected:
  // Draws a good number of tokens; nothing but their number ends it.
  PlainRequest Long(RequestId id, std::vector<int32_t> prompt, int num_tokens) {
    Request request = Draw(id, std::move(prompt), num_tokens);
    request.sampling.seed = id;
    return Plain(std::move(request));
  }
};

// One row, and the blocks of one request and little more.
constexpr RunLimits kOneRow = {.num_blocks = kBlocks, .max_rows = 1, .chunk_tokens = kChunk, .max_drafts = kMaxDrafts};

TEST_P(DraftedReuse, PreemptedAfterEveryStep) {
  const PlainRequest victim = Long(1, Ids(70), 62);
  for (const double accuracy : {0.0, 0.6}) {
    model_.known_answers().SetAccuracy(accuracy);
    EngineRun run(model_, kOneRow);
    Add(run, victim, kDrafts);
    uint64_t num_preemptions = 0;
    while (run.Step() && !run.has_ended(1)) {
      CheckLatents(run);
      ++num_preemptions;
      run.Interrupt(Ids(num_preemptions % 8 == 0 ? (kBlocks - 1) * kBlockSlots : 1));
      if (num_preemptions % 12 == 0) run.engine().FlushPrefixCache();
    }
    EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), num_preemptions);
    EXPECT_GT(num_preemptions, 20u);
    ExpectPlain(run, victim);
  }
}

TEST_P(DraftedReuse, PreemptedOnceAtEachStep) {
  const PlainRequest victim = Long(1, Ids(70), 62);
  model_.known_answers().SetAccuracy(0.6);
  for (const int step : Counts(30, {1, 3, 4, 5, 12, 26})) {
    for (const int num_lost : {1, (kBlocks - 1) * kBlockSlots}) {
      EngineRun run(model_, kOneRow);
      Add(run, victim, kDrafts);
      for (int i = 0; i < step && !run.has_ended(1); ++i) ASSERT_TRUE(run.Step());
      if (run.has_ended(1)) break;
      run.Interrupt(Ids(num_lost));
      EXPECT_EQ(run.preemptions(PreemptionReason::kPriority), 1u);
      RunToEnd(run);
      ExpectPlain(run, victim);
    }
  }
}

// The stored text has all slots of the layer, or none; so has what continues it, and each finds the other's.
TEST_P(DraftedReuse, ForksOfDraftedAndOtherTexts) {
  constexpr int kStored = 2 * kBlockSlots + 3;
  const PlainRequest stored = Long(1, Ids(kStored - 20), 20);
  std::vector<int32_t> text = stored.request.prompt;
  text.insert(text.end(), stored.answers[0].ids.begin(), stored.answers[0].ids.end());
  std::vector<PlainRequest> forks;  // each twice: with drafts and without
  for (const int length : Counts(kStored - 1, {1, 2, 40, 63, 64, 65, 66, 127, 128, 129, kStored - 1})) {
    std::vector<int32_t> prompt(text.begin(), text.begin() + length);
    prompt.push_back((text[static_cast<size_t>(length)] + 1) % model_.vocab_size());
    for (int i = 0; i < 2; ++i) forks.push_back(Long(forks.size() + 2, prompt, 4));
  }
  model_.known_answers().SetAccuracy(0.5);
  for (const int stored_drafts : {0, kDrafts}) {
    EngineRun run(model_, {.max_drafts = kMaxDrafts});
    Add(run, stored, stored_drafts);
    run.RunToEnd();
    ExpectPlain(run, stored);
    for (const PlainRequest& fork : forks) {
      Add(run, fork, fork.request.id % 2 == 0 ? kDrafts : 0);
      RunToEnd(run);
      ExpectPlain(run, fork);
      // Once the cache is full, the text's own copy may be gone: the fork before has all but one of its tokens.
      EXPECT_GE(run.CachedTokens(fork.request.id), std::ssize(fork.request.prompt) - 2);
    }
  }
}

TEST_P(DraftedReuse, ConversationGoesOnWhereItsAnswerEnded) {
  std::vector<int32_t> text = Ids(20);
  std::vector<PlainRequest> turns;
  for (const int num_generated : {3, 1, 40, 1, 62, 2}) {
    turns.push_back(Long(turns.size() + 1, text, num_generated));
    const std::vector<int32_t> said = turns.back().answers[0].ids, asked = Ids(2);
    text.insert(text.end(), said.begin(), said.end());
    text.insert(text.end(), asked.begin(), asked.end());
  }
  model_.known_answers().SetAccuracy(0.7);
  EngineRun run(model_, {.max_drafts = kMaxDrafts});
  for (const PlainRequest& turn : turns) {
    const RequestId id = turn.request.id;
    Add(run, turn, id == 4 ? 0 : kDrafts);
    RunToEnd(run);
    ExpectPlain(run, turn);
    EXPECT_EQ(run.CachedTokens(id), id == 1 ? 0 : std::ssize(turn.request.prompt) - 3);
  }
}

TEST_P(DraftedReuse, WhilePaused) {
  const PlainRequest victim = Long(1, Ids(70), 60);
  model_.known_answers().SetAccuracy(0.6);
  for (const int step : Counts(14, {4, 5, 9})) {
    EngineRun run(model_, kOneRow);
    Add(run, victim, kDrafts);
    for (int i = 0; i < step; ++i) ASSERT_TRUE(run.Step());
    ASSERT_FALSE(run.has_ended(1));
    run.engine().Pause(1);
    run.Add(Draw(2, Ids(kBlocks * kBlockSlots - 10), 2));
    run.RunToEnd();
    ASSERT_TRUE(run.has_ended(2));
    run.engine().Resume(1);
    RunToEnd(run);
    ExpectPlain(run, victim);
  }
}

LATENTD_TEST_EACH_DRAFTING_KIND(DraftedReuse);

}  // namespace
}  // namespace latentd

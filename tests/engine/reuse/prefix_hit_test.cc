// A prompt that finds its beginning in the prefix cache gives the logits of the one that computes it, whatever is
// shared: whole blocks, a part of one, a tail, what others still hold.
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/each_kind.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr int kStored = 2 * kBlockSlots + 3;

std::vector<int32_t> First(const std::vector<int32_t>& ids, int count) { return {ids.begin(), ids.begin() + count}; }

void Append(std::vector<int32_t>& ids, const std::vector<int32_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

class PrefixHit : public EachKind {
 protected:
  std::vector<int> Lengths() const { return Counts(kStored, {1, 2, 40, 63, 64, 65, 127, 128, 129, kStored}); }
  // Shares so many tokens with `stored`, and no more.
  std::vector<int32_t> Fork(const std::vector<int32_t>& stored, int num_shared) {
    std::vector<int32_t> prompt = First(stored, num_shared);
    Append(prompt, Ids(2));
    if (num_shared < std::ssize(stored)) {
      const auto at = static_cast<size_t>(num_shared);
      prompt[at] = (stored[at] + 1) % model_.vocab_size();
    }
    return prompt;
  }
};

TEST_P(PrefixHit, ForkAtEachTokenOfAStoredPromptIsCold) {
  const std::vector<int32_t> stored = Ids(kStored);
  EngineRun run(model_, {});
  run.Add(Draw(1, stored, 1));
  run.RunToEnd();
  for (const int length : Lengths()) {
    Request fork = Draw(static_cast<RequestId>(1000 + length), Fork(stored, length), 3);
    fork.cache.stores = false;
    run.Add(fork);
    run.RunToEnd();
    EXPECT_EQ(run.CachedTokens(fork.id), length);
    EXPECT_TRUE(SameAnswer(run.AnswerOf(fork.id), model_.Cold(fork))) << "shares " << length << " tokens";
  }
}

// Its prompt is held, and is found a chunk at a time while it is computed.
TEST_P(PrefixHit, ForksOfARunningPromptAreCold) {
  const std::vector<int32_t> stored = Ids(kStored);
  std::vector<Request> forks;
  std::vector<Answer> cold;
  for (const int length : Lengths()) {
    forks.push_back(Draw(static_cast<RequestId>(1000 + length), Fork(stored, length), 3));
    cold.push_back(model_.Cold(forks.back()));
  }
  for (const int num_steps : {1, 2, 3, 7}) {
    EngineRun run(model_, {.chunk_tokens = 50});
    run.Add(Draw(1, stored, 20));
    for (int i = 0; i < num_steps; ++i) ASSERT_TRUE(run.Step());
    for (const Request& fork : forks) run.Add(fork);
    run.RunToEnd();
    EXPECT_TRUE(run.scheduler().totals().hit_tokens > 0 || num_steps == 1) << "only its first chunk fills no block";
    for (size_t i = 0; i < forks.size(); ++i) {
      EXPECT_TRUE(SameAnswer(run.AnswerOf(forks[i].id), cold[i])) << forks[i].id << " after " << num_steps << " steps";
    }
  }
}

TEST_P(PrefixHit, AllButTheLastTokenOfAStoredPromptAreFound) {
  const std::vector<int32_t> stored = Ids(kStored);
  std::vector<int32_t> followed = stored;
  followed.push_back(0);
  const Answer cold = model_.Cold(Score(1, followed));
  EngineRun run(model_, {});
  run.Add(Draw(1, stored, 1));
  run.RunToEnd();
  for (const int length : Lengths()) {
    const auto id = static_cast<RequestId>(1000 + length);
    run.Add(Draw(id, First(stored, length), 1));
    run.RunToEnd();
    EXPECT_EQ(run.CachedTokens(id), length - 1);
    EXPECT_TRUE(SameBytes(run.AnswerOf(id).logits, {cold.logits[static_cast<size_t>(length - 1)]})) << length;
  }
}

TEST_P(PrefixHit, StoredTextOfEachLengthIsContinued) {
  const std::vector<int32_t> prompt = Ids(kStored);
  const Answer cold = model_.Cold(Draw(1, prompt, 2));
  EngineRun run(model_, {});
  for (const int length : Lengths()) {
    Request stored = Draw(static_cast<RequestId>(length), First(prompt, length), 1);
    Request continued = Draw(static_cast<RequestId>(1000 + length), prompt, 2);
    stored.cache.salt = continued.cache.salt = std::to_string(length);
    run.Add(stored);
    run.RunToEnd();
    run.Add(continued);
    run.RunToEnd();
    EXPECT_EQ(run.CachedTokens(continued.id), std::min(length, kStored - 1));
    EXPECT_TRUE(SameAnswer(run.AnswerOf(continued.id), cold)) << "after " << length << " tokens";
  }
}

TEST_P(PrefixHit, ConversationGoesOnWhereItsAnswerEnded) {
  EngineRun run(model_, {});
  std::vector<int32_t> text = Ids(20);
  int num_computed = 0;
  RequestId id = 0;
  for (const int num_generated : {3, 1, 40, 1, 62, 2}) {
    const Request turn = Draw(++id, text, num_generated);
    run.Add(turn);
    run.RunToEnd();
    EXPECT_EQ(run.CachedTokens(id), num_computed);
    EXPECT_TRUE(SameAnswer(run.AnswerOf(id), model_.Cold(turn))) << "turn " << id;
    Append(text, run.AnswerOf(id).ids);
    num_computed = static_cast<int>(text.size()) - 1;
    Append(text, Ids(2));
  }
}

TEST_P(PrefixHit, ScoredPromptsAreFoundAndFindNothing) {
  const std::vector<int32_t> stored = Ids(100);
  std::vector<int32_t> longer = stored;
  Append(longer, Ids(30));
  const Request score = Score(1, stored), draw = Draw(2, longer, 2), score_again = Score(3, longer);
  EngineRun run(model_, {});
  for (const Request& request : {score, draw, score_again}) {
    run.Add(request);
    run.RunToEnd();
    EXPECT_TRUE(SameAnswer(run.AnswerOf(request.id), model_.Cold(request))) << "request " << request.id;
  }
  EXPECT_EQ(run.CachedTokens(draw.id), 100);
  EXPECT_EQ(run.CachedTokens(score_again.id), 0);
}

LATENTD_TEST_EACH_KIND(PrefixHit);

}  // namespace
}  // namespace latentd

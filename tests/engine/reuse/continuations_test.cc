// The n continuations of a request are what n requests would get whose draws have those indices, however the prompt
// that they share was come by.
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/each_kind.h"

namespace latentd {
namespace {

constexpr int kGenerated = 12;

class Continuations : public EachKind {
 protected:
  // Logits and draws of each, alone.
  void ExpectCold(const EngineRun& run, const Request& request) {
    for (int32_t index = 0; index < request.num_sequences; ++index) {
      EXPECT_TRUE(SameAnswer(run.AnswerOf(request.id, index), model_.Cold(request, index)))
          << request.prompt.size() << " tokens, sequence " << index << " of " << request.num_sequences;
    }
  }
};

// So hot that any model draws different tokens.
Request With(int num_sequences, Request request) {
  request.sampling.temperature = 20.0f;
  request.sampling.top_p = 1.0f;
  request.num_sequences = num_sequences;
  return request;
}

TEST_P(Continuations, AreTheDrawsWithTheirIndices) {
  for (const int length : Counts(2 * kBlockSlots + 1, {1, 64, 100, 129})) {
    const Request request = With(3, Draw(1, Ids(length), kGenerated));
    std::vector<Answer> answers;
    for (const int num_sequences : {3, 1, 2}) {
      EngineRun run(model_, {});
      run.Add(With(num_sequences, request));
      run.RunToEnd();
      EXPECT_EQ(run.CachedTokens(1), 0);
      if (answers.empty()) ExpectCold(run, request);
      for (int32_t index = 0; index < num_sequences; ++index) {
        if (num_sequences == 3) answers.push_back(run.AnswerOf(1, index));
        EXPECT_TRUE(SameAnswer(run.AnswerOf(1, index), answers[static_cast<size_t>(index)])) << "of " << num_sequences;
      }
    }
    EXPECT_NE(answers[0].ids, answers[1].ids);
    EXPECT_NE(answers[1].ids, answers[2].ids);
  }
}

TEST_P(Continuations, FindTheirPromptInTheCache) {
  const std::vector<int32_t> prompt = Ids(100);
  EngineRun run(model_, {});
  for (const RequestId id : {1u, 2u}) {
    Request request = With(3, Draw(id, prompt, kGenerated));
    request.sampling.seed = id;
    run.Add(request);
    run.RunToEnd();
    ExpectCold(run, request);
  }
  EXPECT_EQ(run.CachedTokens(2), 99);
}

TEST_P(Continuations, OfARequestThatStoresNothing) {
  EngineRun run(model_, {});
  Request request = With(3, Draw(1, Ids(100), kGenerated));
  request.cache = {.reads = false, .stores = false};
  run.Add(request);
  run.RunToEnd();
  ExpectCold(run, request);
  EXPECT_EQ(run.scheduler().cache().num_cached(), 0);
}

// One block of the prompt is shared; the rest of it and the answers take two for each.
TEST_P(Continuations, ThatDoNotFitTogether) {
  EngineRun run(model_, {.num_blocks = 6, .max_rows = 4, .chunk_tokens = 40});
  const Request request = With(4, Draw(1, Ids(110), 30));
  run.Add(request);
  for (int i = 1; run.Step(); ++i) {
    if (i % 9 == 0 && run.ends().empty()) run.Interrupt(Ids(70));
  }
  EXPECT_GT(run.preemptions(PreemptionReason::kBlocks), 0u);
  EXPECT_GT(run.preemptions(PreemptionReason::kPriority), 0u);
  ExpectCold(run, request);
}

LATENTD_TEST_EACH_KIND(Continuations);

}  // namespace
}  // namespace latentd

// Many requests, 64 on the bundled model, on a cache that is too small for them, while prefixes are found and evicted,
// and sequences are preempted, paused, resumed and cancelled: each of them gets the logits that it gets alone.
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/each_kind.h"

namespace latentd {
namespace {

constexpr int kTexts = 6;

class Company : public EachKind {
 protected:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  Request AnyRequest(RequestId id, const std::vector<std::vector<int32_t>>& texts) {
    const std::vector<int32_t>& text = texts[static_cast<size_t>(Below(kTexts))];
    std::vector<int32_t> prompt(text.begin(), text.begin() + 1 + Below(static_cast<int>(text.size())));
    const std::vector<int32_t> own = Ids(Below(20));
    prompt.insert(prompt.end(), own.begin(), own.end());
    if (prompt.size() > 1 && Below(8) == 0) return Score(id, prompt);
    Request request = Draw(id, prompt, 1 + Below(70));
    request.sampling.seed = id;
    request.num_sequences = Below(8) == 0 ? 3 : 1;
    request.scheduling.priority = Below(3) == 0 ? Below(5) : 0;
    request.cache = {.salt = Below(8) == 0 ? "other" : "", .reads = Below(10) > 0, .stores = Below(10) > 0};
    return request;
  }
  // Something happens to some request that may be running.
  void Disturb(EngineRun& run) {
    const auto id = static_cast<RequestId>(1 + Below(num_requests_));
    if (Below(3) == 0) {
      run.engine().Pause(id);
    } else if (Below(20) == 0) {
      run.engine().Cancel(id);
    }
    for (RequestId other = 1; other <= static_cast<RequestId>(num_requests_); ++other) {
      if (Below(4) == 0) run.engine().Resume(other);
    }
  }

  const int num_requests_ = GetParam().kind.checkpoint.has_value() ? 24 : 64;
};

TEST_P(Company, ChangesNoBit) {
  std::vector<std::vector<int32_t>> texts;
  for (int i = 0; i < kTexts; ++i) texts.push_back(Ids(180));
  EngineRun run(model_, {.num_blocks = num_requests_, .chunk_tokens = 48});
  std::vector<Request> requests;
  int most_running = 0;
  while (true) {
    for (int i = 0; i < num_requests_ / 3 && std::ssize(requests) < num_requests_; ++i) {
      requests.push_back(AnyRequest(requests.size() + 1, texts));
      run.Add(requests.back());
    }
    if (!run.Step()) {
      if (run.scheduler().num_paused() == 0) break;
      for (const Request& request : requests) run.engine().Resume(request.id);
    }
    most_running = std::max(most_running, run.scheduler().num_running());
    Disturb(run);
  }
  const SchedulerTotals& totals = run.scheduler().totals();
  const uint64_t for_blocks = run.preemptions(PreemptionReason::kBlocks);
  const uint64_t for_class = run.preemptions(PreemptionReason::kPriority);
  const uint64_t num_evictions = run.scheduler().cache().num_evictions();
  EXPECT_GT(totals.hit_tokens, 500u);
  EXPECT_GT(totals.recomputed_tokens, 0u);
  EXPECT_GT(num_evictions, 10u);
  EXPECT_GT(for_blocks, 0u);
  EXPECT_GT(for_class, 0u);
  EXPECT_GT(most_running, 5);
  std::printf(
      "%zu requests, at most %d rows: %zu tokens found, %zu computed again; %zu evictions, %zu + %zu preempted\n",
      requests.size(), most_running, size_t{totals.hit_tokens}, size_t{totals.recomputed_tokens}, size_t{num_evictions},
      size_t{for_blocks}, size_t{for_class});
  // To compute one alone costs as much as many together.
  const size_t every = GetParam().depth == Depth::kAll ? 1 : 5;
  for (size_t i = 0; i < requests.size(); i += every) {
    for (int32_t index = 0; index < requests[i].num_sequences; ++index) {
      if (run.ends().at({requests[i].id, index}).reason == FinishReason::kCancelled) continue;
      EXPECT_TRUE(SameAnswer(run.AnswerOf(requests[i].id, index), model_.Cold(requests[i], index)))
          << "request " << requests[i].id << ", sequence " << index;
    }
  }
}

LATENTD_TEST_EACH_KIND(Company);

}  // namespace
}  // namespace latentd

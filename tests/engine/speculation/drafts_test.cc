// What a sequence gets is the same with drafts as without, as bytes: tokens, logits, log-probabilities, and its end;
// alone and in company, however often drafts are right.
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/speculation/drafting.h"

namespace latentd {
namespace {

class WithDrafts : public Drafting {
 protected:
  int NumSeeds(int few) const {
    if (GetParam().depth == Depth::kEdges) return few;
    return GetParam().kind.checkpoint.has_value() ? 48 : 201;  // a third of them at each temperature
  }

  // `count` requests, some of which share their beginnings.
  std::vector<PlainRequest> Company(RequestId first, int count) {
    constexpr int kTexts = 4;
    std::vector<std::vector<int32_t>> texts;
    for (int i = 0; i < kTexts; ++i) texts.push_back(Ids(140));
    std::vector<PlainRequest> all;
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t> prompt = texts[static_cast<size_t>(Below(kTexts))];
      prompt.resize(static_cast<size_t>(1 + Below(static_cast<int>(prompt.size()))));
      const std::vector<int32_t> own = Ids(Below(20));
      prompt.insert(prompt.end(), own.begin(), own.end());
      all.push_back(AnyPlain(first + static_cast<RequestId>(i), std::move(prompt)));
      all.back().request.scheduling.priority = OneOf(4) ? Below(5) : 0;
    }
    return all;
  }
  // Something happens to some request that may be running.
  void Disturb(EngineRun& run, const std::vector<PlainRequest>& all) {
    const RequestId id = all[static_cast<size_t>(Below(static_cast<int>(all.size())))].request.id;
    if (OneOf(3)) {
      run.engine().Pause(id);
    } else if (OneOf(40)) {
      run.engine().Cancel(id);
    }
    for (const PlainRequest& other : all) {
      if (OneOf(4)) run.engine().Resume(other.request.id);
    }
  }
};

TEST_P(WithDrafts, NoByteChanges) {
  DraftCounts counts;
  for (int seed = 1; seed <= NumSeeds(6); ++seed) {
    const PlainRequest plain = AnyPlain(static_cast<RequestId>(seed));
    for (const int max_drafts : {1, 2, 3, kMaxDrafts}) {
      SCOPED_TRACE(testing::Message() << max_drafts << " drafts");
      model_.known_answers().SetAccuracy(0.25 * Below(5));
      EngineRun run(model_, {.max_drafts = kMaxDrafts});
      Add(run, plain, max_drafts);
      run.RunToEnd();
      ExpectPlain(run, plain);
      counts.Count(run);
    }
  }
  counts.ExpectSome();
}

// Beside neighbours with other numbers of drafts, with too few blocks for all, and tokens for some of their drafts.
TEST_P(WithDrafts, NoByteChangesInCompany) {
  constexpr int kCompany = 32;
  DraftCounts counts;
  uint64_t num_found = 0, num_preempted = 0;
  for (int first = 1; first <= NumSeeds(kCompany); first += kCompany) {
    const std::vector<PlainRequest> all = Company(static_cast<RequestId>(first), kCompany);
    model_.known_answers().SetAccuracy(0.6);
    EngineRun run(model_, {.num_blocks = 8, .max_step_tokens = 60, .chunk_tokens = 40, .max_drafts = kMaxDrafts});
    size_t num_added = 0;
    while (true) {
      for (int i = 0; i < 8 && num_added < all.size(); ++i) Add(run, all[num_added++], Below(6) - 1);
      if (!run.Step()) {
        if (run.scheduler().num_paused() == 0 && num_added == all.size()) break;
        for (const PlainRequest& plain : all) run.engine().Resume(plain.request.id);
      }
      Disturb(run, all);
      if (OneOf(5)) run.Interrupt(Ids(Below(200) + 1));
      if (OneOf(10)) run.ExpectFreshLatents();
    }
    for (const PlainRequest& plain : all) ExpectPlain(run, plain);
    counts.Count(run);
    num_found += run.scheduler().totals().hit_tokens;
    for (const uint64_t count : run.scheduler().totals().preemptions) num_preempted += count;
  }
  counts.ExpectSome();
  EXPECT_GT(num_found, 100u);
  EXPECT_GT(num_preempted, 5u);
  std::printf("%d drafts right, %d wrong; %d sequences ended by a token; %zu tokens found, %zu preempted\n",
              counts.num_right, counts.num_wrong, counts.num_ended, size_t{num_found}, size_t{num_preempted});
}

// The number changes from step to step while the engine finds out what pays.
TEST_P(WithDrafts, NoByteChangesWhereTheEngineChooses) {
  std::vector<PlainRequest> all;
  for (int seed = 1; seed <= NumSeeds(30); ++seed) all.push_back(AnyPlain(static_cast<RequestId>(seed)));
  EngineRun run(model_, {.max_drafts = kMaxDrafts, .step_duration = std::chrono::milliseconds(1)});
  DraftCounts counts;
  for (size_t i = 0; i < all.size(); ++i) {
    model_.known_answers().SetAccuracy(i < all.size() / 2 ? 0.8 : 0.3);
    Add(run, all[i], kAutoDrafts);
    if (i % 3 == 2 || i + 1 == all.size()) RunToEnd(run);
  }
  for (const PlainRequest& plain : all) ExpectPlain(run, plain);
  counts.Count(run);
  // How many it drafts is its own affair.
  EXPECT_GT(counts.num_right, 0);
  EXPECT_GT(counts.num_wrong, 0);
}

// At the last positions that a sequence may have.
TEST_P(WithDrafts, NoByteChangesAtTheContextsEnd) {
  for (const int length : {RecordedModel::kMaxContext - 1, RecordedModel::kMaxContext - 6}) {
    Request request = Draw(1, Ids(length), 20);
    request.sampling.seed = 1;
    const PlainRequest plain = Plain(request);
    EXPECT_EQ(plain.ends[0].reason, FinishReason::kContextLimit);
    model_.known_answers().SetAccuracy(0.8);
    for (const int max_drafts : {1, 3, kMaxDrafts}) {
      EngineRun run(model_, {.max_drafts = kMaxDrafts});
      Add(run, plain, max_drafts);
      RunToEnd(run);
      ExpectPlain(run, plain);
    }
  }
}

// Which is in the middle of a block: slots behind it would have room for drafts.
TEST_P(WithDrafts, NothingIsComputedBehindTheContextsEnd) {
  constexpr int kContext = 100;
  std::vector<PlainRequest> all;
  for (const int length : {75, 86, 92}) {
    Request request = Draw(all.size() + 1, Ids(length), kContext - length);
    request.sampling.seed = request.id;
    all.push_back(Plain(request));
  }
  ModelKind kind = GetParam().kind;
  kind.max_context = kContext;
  RecordedModel narrow(kind);
  narrow.known_answers() = model_.known_answers();
  narrow.known_answers().SetAccuracy(1.0);
  for (const int max_drafts : {3, kMaxDrafts}) {
    EngineRun run(narrow, {.max_context = kContext, .max_drafts = kMaxDrafts});
    for (const PlainRequest& plain : all) Add(run, plain, max_drafts);
    RunToEnd(run);
    for (const PlainRequest& plain : all) ExpectPlain(run, plain);
  }
}

TEST_P(WithDrafts, NoByteChangesOnTwoThreads) {
  std::vector<PlainRequest> all;
  for (RequestId id = 1; id <= 6; ++id) all.push_back(AnyPlain(id));
  ModelKind kind = GetParam().kind;
  kind.num_threads = 2;
  RecordedModel two(kind);
  two.known_answers() = model_.known_answers();
  two.known_answers().SetAccuracy(0.7);
  EngineRun run(two, {.max_drafts = kMaxDrafts});
  for (const PlainRequest& plain : all) Add(run, plain, 3);
  RunToEnd(run);
  for (const PlainRequest& plain : all) ExpectPlain(run, plain);
}

LATENTD_TEST_EACH_DRAFTING_KIND(WithDrafts);
INSTANTIATE_TEST_SUITE_P(AllTiny, WithDrafts, testing::ValuesIn(CasesOf(DraftingKinds(TinyKinds()), Depth::kAll)),
                         NameOfCase);

}  // namespace
}  // namespace latentd

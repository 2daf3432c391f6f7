// What rejected drafts leave in the cache: nothing. In each layer, the one that predicts further tokens included, a
// sequence has the latents that one step over its tokens stores, bit for bit.
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/speculation/drafting.h"

namespace latentd {
namespace {

class DraftedLatents : public Drafting {};

TEST_P(DraftedLatents, AreThoseOfAFreshPrefill) {
  DraftCounts counts;
  for (const double accuracy : {0.0, 0.5, 0.9}) {
    model_.known_answers().SetAccuracy(accuracy);
    for (const int max_drafts : {1, 3, kMaxDrafts}) {
      SCOPED_TRACE(testing::Message() << max_drafts << " drafts, of which " << accuracy << " are right");
      const int length = 20 + Below(50);
      Request request = Draw(static_cast<RequestId>(max_drafts), Ids(length), 2 * kBlockSlots + 10 - length);
      request.sampling.seed = request.id;
      const PlainRequest plain = Plain(std::move(request));
      EngineRun run(model_, {.chunk_tokens = 30, .max_drafts = kMaxDrafts});
      Add(run, plain, max_drafts);
      RunToEnd(run);
      ExpectPlain(run, plain);
      counts.Count(run);
    }
  }
  EXPECT_GT(counts.num_right, 50);
  EXPECT_GT(counts.num_wrong, 50);
}

// Where some steps of a sequence draft and others don't, as under load, the layer's slots are those behind a hole.
TEST_P(DraftedLatents, AreFreshInCompany) {
  std::vector<PlainRequest> all;
  for (RequestId id = 1; id <= 8; ++id) all.push_back(AnyPlain(id));
  model_.known_answers().SetAccuracy(0.6);
  EngineRun run(model_, {.num_blocks = 12, .max_rows = 6, .chunk_tokens = 25, .max_drafts = kMaxDrafts});
  for (const PlainRequest& plain : all) Add(run, plain, 1 + Below(4));
  RunToEnd(run);
  for (const PlainRequest& plain : all) ExpectPlain(run, plain);
}

LATENTD_TEST_EACH_DRAFTING_KIND(DraftedLatents);

}  // namespace
}  // namespace latentd

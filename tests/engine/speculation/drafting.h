// Requests that try what speculation could get wrong, and what each of them gets without it, alone: that is what it has
// to get with it, as bytes. On each kind of model that can draft, in the suites of each_kind.h.
#pragma once

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/each_kind.h"
#include "tests/engine/reuse/engine_run.h"

namespace latentd {

// What it gets without drafts.
struct PlainRequest {
  Request request;
  std::vector<Answer> answers;    // of its sequences
  std::vector<SequenceEnd> ends;  // the same
};

// How drafts fared in some runs: a test that saw none right, or none wrong, has shown nothing.
struct DraftCounts {
  int num_right = 0;
  int num_wrong = 0;
  int num_ended = 0;  // sequences that a token ended

  void Count(const EngineRun& run);
  void ExpectSome() const;
};

class Drafting : public EachKind {
 protected:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }
  bool OneOf(int count) { return Below(count) == 0; }

  // Drawn and ended by any rule; a third of them each at temperatures of 0, 0.7 and 1. `id` is its seed, too.
  Request AnyDraw(RequestId id, std::vector<int32_t> prompt);
  // What it gets without drafts; the model knows it from here on. Not while another engine runs.
  PlainRequest Plain(const Request& request);
  // The same of AnyDraw's, of which some end at a token that they draw.
  PlainRequest AnyPlain(RequestId id, std::vector<int32_t> prompt);
  PlainRequest AnyPlain(RequestId id) { return AnyPlain(id, Ids(1 + Below(70))); }

  // At each step where everything is tried, else now and then.
  void CheckLatents(EngineRun& run) {
    if (GetParam().depth == Depth::kAll || OneOf(4)) run.ExpectFreshLatents();
  }
  void RunToEnd(EngineRun& run) {
    while (run.Step()) CheckLatents(run);
  }

  // Adds the request with so many drafts.
  static void Add(EngineRun& run, const PlainRequest& plain, int max_drafts);
  // Its sequences that were not cancelled got the same.
  static void ExpectPlain(const EngineRun& run, const PlainRequest& plain);

 private:
  std::vector<TokenBias> AnyBias();
};

#define LATENTD_TEST_EACH_DRAFTING_KIND(suite)                                                                       \
  const auto NameOfCase = [](const auto& info) { return info.param.kind.name; };                                     \
  INSTANTIATE_TEST_SUITE_P(Bundled, suite, testing::ValuesIn(CasesOf(DraftingKinds(BundledKinds()), Depth::kEdges)), \
                           NameOfCase);                                                                              \
  INSTANTIATE_TEST_SUITE_P(Tiny, suite, testing::ValuesIn(CasesOf(DraftingKinds(TinyKinds()), Depth::kEdges)),       \
                           NameOfCase);                                                                              \
  INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(CasesOf(DraftingKinds(BundledKinds()), Depth::kAll)),       \
                           NameOfCase)

}  // namespace latentd

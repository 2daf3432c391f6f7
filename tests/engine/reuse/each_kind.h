// Tests that hold for each kind of model, cache and FP8 mode, in three suites: the bundled model and each tiny variant
// at the edges of blocks, and the bundled one at every length and every step. CMakeLists.txt says which run when.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/reuse/engine_run.h"
#include "tests/engine/reuse/recorded_model.h"

namespace latentd {

enum class Depth : uint8_t { kEdges, kAll };

struct ReuseCase {
  ModelKind kind;
  Depth depth = Depth::kEdges;
};
inline std::ostream& operator<<(std::ostream& out, const ReuseCase& reuse) { return out << reuse.kind; }

inline std::vector<ReuseCase> CasesOf(const std::vector<ModelKind>& kinds, Depth depth) {
  std::vector<ReuseCase> cases;
  for (const ModelKind& kind : kinds) cases.push_back({.kind = kind, .depth = depth});
  return cases;
}

class EachKind : public testing::TestWithParam<ReuseCase> {
 protected:
  std::vector<int32_t> Ids(int count) { return RandomIds(random_, count, model_.vocab_size()); }
  // Those of 1 … most at which something changes, or all.
  std::vector<int> Counts(int most, const std::vector<int>& edges) const {
    std::vector<int> counts;
    for (int count = 1; count <= most; ++count) {
      const bool is_edge = std::find(edges.begin(), edges.end(), count) != edges.end();
      if (is_edge || GetParam().depth == Depth::kAll) counts.push_back(count);
    }
    return counts;
  }

  RecordedModel model_{GetParam().kind};
  std::mt19937_64 random_{1};  // fixed: a failure repeats
};

#define LATENTD_TEST_EACH_KIND(suite)                                                                              \
  const auto NameOfCase = [](const auto& info) { return info.param.kind.name; };                                   \
  INSTANTIATE_TEST_SUITE_P(Bundled, suite, testing::ValuesIn(CasesOf(BundledKinds(), Depth::kEdges)), NameOfCase); \
  INSTANTIATE_TEST_SUITE_P(Tiny, suite, testing::ValuesIn(CasesOf(TinyKinds(), Depth::kEdges)), NameOfCase);       \
  INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(CasesOf(BundledKinds(), Depth::kAll)), NameOfCase)

}  // namespace latentd

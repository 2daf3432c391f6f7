// Every variant of tests/support/tiny_variants: the forward pass is the paper in double, and its bytes depend neither
// on company nor on chunks, blocks, threads or the instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/reference/model.h"
#include "tests/support/each_target.h"
#include "tests/support/forward_recorder.h"
#include "tests/support/model_session.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_variants.h"

namespace latentd {
namespace {

constexpr double kErrorBound = 1e-5;  // relative to the largest value
// Where a chosen score is nearer to one that was not chosen, two correct engines may route differently.
constexpr double kClearMargin = 1e-6;

// Written once for all tests.
const std::filesystem::path& DirectoryOf(const TinyVariant& variant) {
  static std::map<std::string, TemporaryDirectory> directories;
  const auto [place, is_new] = directories.try_emplace(variant.name);
  if (is_new) WriteTinyCheckpoint(variant.checkpoint, place->second.path());
  return place->second.path();
}

class EveryVariant : public ::testing::TestWithParam<TinyVariant> {
 protected:
  std::vector<int32_t> RandomIds(size_t count) {
    std::uniform_int_distribution<int32_t> any(0, GetParam().checkpoint.vocab_size - 1);
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = any(random_);
    return ids;
  }
  ModelSession Session(ModelSession::Options options = {}) const {
    options.num_blocks = 32;
    options.max_tokens = 512;
    return ModelSession(directory_, options);
  }

  const std::filesystem::path& directory_ = DirectoryOf(GetParam());
  std::mt19937_64 random_{1};  // fixed: a failure repeats
};

double RelativeDifference(const LogitRows& rows, const reference::Rows& expected) {
  double largest = 0.0, magnitude = 0.0;
  EXPECT_EQ(rows.size(), expected.size());
  for (size_t t = 0; t < rows.size(); ++t) {
    EXPECT_EQ(rows[t].size(), expected[t].size());
    for (size_t i = 0; i < rows[t].size(); ++i) {
      // A NaN must not get lost in the maximum.
      if (!std::isfinite(rows[t][i])) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, std::fabs(double{rows[t][i]} - expected[t][i]));
      magnitude = std::max(magnitude, std::fabs(expected[t][i]));
    }
  }
  return largest / magnitude;
}

void ExpectSameExperts(const ForwardRecord& record, const reference::ForwardResult& expected) {
  ASSERT_EQ(record.routings.size(), expected.experts.size());
  for (size_t layer = 0; layer < expected.experts.size(); ++layer) {
    ASSERT_EQ(record.routings[layer].size(), expected.experts[layer].size());
    for (size_t t = 0; t < expected.experts[layer].size(); ++t) {
      const std::vector<ChosenExpert>& chosen = record.routings[layer][t];
      const std::vector<reference::ExpertChoice>& wanted = expected.experts[layer][t];
      ASSERT_EQ(chosen.size(), wanted.size());
      for (size_t k = 0; k < wanted.size(); ++k) {
        ASSERT_EQ(chosen[k].expert, wanted[k].expert) << "expert layer " << layer << " token " << t;
        ASSERT_NEAR(chosen[k].weight, wanted[k].weight, kErrorBound * std::max(1.0, wanted[k].weight));
      }
    }
  }
}

TEST_P(EveryVariant, ForwardPassIsThePaperInDouble) {
  const std::vector<int32_t> ids = RandomIds(100);  // a block and a partial one
  const ModelConfig config = OrDie(LoadModelConfig(directory_));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory_, config));
  const reference::ForwardResult expected = reference::Forward(checkpoint, config, ids);
  ASSERT_GT(expected.smallest_routing_margin, kClearMargin) << "choose another seed";
  ForwardRecord record;
  ModelSession session = Session({.wrap = RecordInto(record)});
  const double logits = RelativeDifference(session.Run(ids, AllPositions(ids.size())), expected.logits);
  const double hidden = RelativeDifference(record.hidden, expected.hidden);
  EXPECT_LE(logits, kErrorBound);
  EXPECT_LE(hidden, kErrorBound);
  ExpectSameExperts(record, expected);
  std::printf("%s: relative error of the logits %.1e, of the last hidden state %.1e\n", GetParam().name.c_str(), logits,
              hidden);
}

TEST_P(EveryVariant, AnyChunkingGivesTheBytesOfTheWhole) {
  const std::vector<int32_t> ids = RandomIds(130), wanted = AllPositions(ids.size());
  ModelSession session = Session();
  const LogitRows whole = session.Run(ids, wanted);
  for (const int chunk : {1, 7, 64, 128, 129}) {
    EXPECT_TRUE(SameBytes(session.Run(ids, wanted, chunk), whole)) << "chunks of " << chunk;
  }
}

// Steps the sequences together, each by random chunks in a random row, and returns all their logits.
std::vector<LogitRows> RunTogether(ModelSession& session, const std::vector<std::vector<int32_t>>& ids,
                                   std::mt19937_64& random) {
  std::vector<LogitRows> logits(ids.size());
  std::vector<int> handles;
  for (size_t i = 0; i < ids.size(); ++i) handles.push_back(session.AddSequence());
  for (;;) {
    std::vector<size_t> order;
    std::vector<ModelSession::Row> rows;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (logits[i].size() < ids[i].size()) order.push_back(i);
    }
    if (order.empty()) return logits;
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t i : order) {
      const size_t begin = logits[i].size(), most = std::min<size_t>(ids[i].size() - begin, 1 + random() % 40);
      rows.push_back(
          {.sequence = handles[i], .ids = std::span(ids[i]).subspan(begin, most), .wanted = AllPositions(most)});
    }
    LogitRows step = session.Step(rows);
    auto next = step.begin();
    for (size_t r = 0; r < rows.size(); ++r) {
      for (size_t t = 0; t < rows[r].ids.size(); ++t) logits[order[r]].push_back(std::move(*next++));
    }
  }
}

TEST_P(EveryVariant, CompanyChangesNoByte) {
  for (const size_t others : {1, 11}) {
    std::vector<std::vector<int32_t>> ids;
    for (size_t i = 0; i <= others; ++i) ids.push_back(RandomIds(1 + random_() % 90));
    ModelSession together = Session(), alone = Session();
    const std::vector<LogitRows> logits = RunTogether(together, ids, random_);
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_TRUE(SameBytes(alone.Run(ids[i], AllPositions(ids[i].size())), logits[i])) << "sequence " << i;
    }
  }
}

TEST_P(EveryVariant, NeitherBlocksNorThreadsNorInstructionSetChangeAByte) {
  const std::vector<int32_t> ids = RandomIds(66), wanted = AllPositions(ids.size());  // the portable target is slow
  ModelSession session = Session({.num_threads = 1});
  const LogitRows expected = session.Run(ids, wanted);
  EXPECT_TRUE(SameBytes(Session({.num_threads = 3, .block_seed = 1}).Run(ids, wanted), expected));
  EXPECT_TRUE(SameBytes(Session({.num_threads = 5, .block_seed = 2}).Run(ids, wanted), expected));
  ForEachTarget([&] { EXPECT_TRUE(SameBytes(session.Run(ids, wanted), expected)); });
}

TEST_P(EveryVariant, LaterTokensNeverChangeEarlierLogits) {
  std::vector<int32_t> ids = RandomIds(80);
  ModelSession session = Session();
  const LogitRows before = session.Run(ids, AllPositions(50));
  const std::vector<int32_t> others = RandomIds(30);
  std::copy(others.begin(), others.end(), ids.begin() + 50);
  EXPECT_TRUE(SameBytes(session.Run(ids, AllPositions(50)), before));
}

INSTANTIATE_TEST_SUITE_P(Tiny, EveryVariant, ::testing::ValuesIn(TinyVariants()),
                         [](const auto& variant) { return variant.param.name; });

bool AllFinite(const LogitRows& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const std::vector<float>& row) {
    return std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
  });
}

// One token, the first token alone, one token over and over up to the last position of the context.
TEST(FiniteLogits, OfAnyPromptThatTheContextHolds) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({.max_context = 4096, .num_layers = 2, .projections = DType::kE4M3}, directory.path());
  ModelSession session(directory.path(), {.max_context = 4096});
  for (const int32_t id : {0, 1, 330}) EXPECT_TRUE(AllFinite(session.Run(std::vector{id}, AllPositions(1))));
  EXPECT_TRUE(AllFinite(session.Run(std::vector(4096, 330), std::vector{0, 1, 63, 511, 512, 2047, 4095}, 2048)));
}

TEST(FiniteLogits, OfEveryIdOfTheVocabulary) {
  ModelSession session("models/tiny-tales", {});
  for (int32_t first = 0; first < session.config().vocab_size; first += 400) {
    std::vector<int32_t> ids;
    for (int32_t id = first; id < std::min(first + 400, session.config().vocab_size); ++id) ids.push_back(id);
    EXPECT_TRUE(AllFinite(session.Run(ids, AllPositions(ids.size())))) << "ids from " << first;
  }
}

}  // namespace
}  // namespace latentd

// Numbers do not depend on the company they keep: logits of the real model compared as bytes.
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/each_target.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/model_session.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

const char* const kModel = "models/tiny-tales";

std::vector<int32_t> RandomIds(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int32_t> ids(0, 4080);
  std::vector<int32_t> result(count);
  for (int32_t& id : result) id = ids(random);
  return result;
}

LogitRows RunAlone(const std::vector<int32_t>& ids, const ModelSession::Options& options) {
  return ModelSession(kModel, options).Run(ids, AllPositions(ids.size()));
}

class ChunkedPrefill : public testing::TestWithParam<int> {};

TEST_P(ChunkedPrefill, GivesTheBytesOfTheWhole) {
  const std::vector<int32_t> ids = RandomIds(200, 1);
  ModelSession session(kModel, {});
  EXPECT_TRUE(
      SameBytes(session.Run(ids, AllPositions(ids.size()), GetParam()), session.Run(ids, AllPositions(ids.size()))));
}
INSTANTIATE_TEST_SUITE_P(Tokens, ChunkedPrefill, testing::Values(1, 7, 63, 64, 65, 199));

TEST(Invariance, PhysicalBlocksMayLieInAnyOrder) {
  const std::vector<int32_t> ids = RandomIds(700, 2);
  const LogitRows ascending = RunAlone(ids, {.max_logit_rows = 700});
  for (const uint64_t seed : {1, 2, 3}) {
    EXPECT_TRUE(SameBytes(RunAlone(ids, {.max_logit_rows = 700, .block_seed = seed}), ascending))
        << "block_seed " << seed;
  }
}

TEST(Invariance, AnyNumberOfThreads) {
  const std::vector<int32_t> ids = RandomIds(600, 3);
  const LogitRows one = RunAlone(ids, {.num_threads = 1, .max_logit_rows = 600});
  for (const int threads : {2, 5}) {
    EXPECT_TRUE(SameBytes(RunAlone(ids, {.num_threads = threads, .max_logit_rows = 600}), one))
        << threads << " threads";
  }
}

TEST(Invariance, EveryInstructionSetGivesTheSameBytes) {
  const std::vector<int32_t> ids = RandomIds(150, 4);
  std::vector<LogitRows> by_target;
  ForEachTarget([&] { by_target.push_back(RunAlone(ids, {})); });
  ASSERT_GE(by_target.size(), 2u) << "nothing to compare the portable target with";
  for (const LogitRows& logits : by_target) EXPECT_TRUE(SameBytes(logits, by_target.front()));
}

// Counts how often each weight is multiplied with.
class LinearCounter final : public ForwardingOps {
 public:
  LinearCounter(Ops& to, std::map<const Matrix*, int>& calls) : ForwardingOps(to), calls_(calls) {}
  void Linear(const Activation& x, const Matrix& weight, Tensor out) override {
    ++calls_[&weight];
    ForwardingOps::Linear(x, weight, out);
  }

 private:
  std::map<const Matrix*, int>& calls_;
};

// 32 sequences at different stages of prefill and decode.
struct Company {
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<size_t>> cuts;  // where each sequence's steps end

  explicit Company(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (uint64_t sequence = 0; sequence < 32; ++sequence) {
      ids.push_back(RandomIds(std::uniform_int_distribution<size_t>(8, 150)(random), seed + sequence));
      std::vector<size_t>& ends = cuts.emplace_back();
      for (size_t end = 0; end < ids.back().size(); ends.push_back(end)) {
        const size_t most = std::bernoulli_distribution(0.5)(random) ? 1 : 70;
        end = std::min(ids.back().size(), end + std::uniform_int_distribution<size_t>(1, most)(random));
      }
    }
  }
};

TEST(Invariance, AloneIsAsWithThirtyOneNeighbours) {
  const Company company(5);
  std::map<const Matrix*, int> calls;
  ModelSession session(
      kModel, {.max_logit_rows = 2048, .wrap = [&](Ops& ops) { return std::make_unique<LinearCounter>(ops, calls); }});
  std::vector<LogitRows> together(company.ids.size());
  size_t most_rows = 0;
  for (size_t i = 0; i < company.ids.size(); ++i) session.AddSequence();
  for (size_t step = 0;; ++step) {
    std::vector<ModelSession::Row> rows;
    for (size_t i = 0; i < company.ids.size(); ++i) {
      if (step >= company.cuts[i].size()) continue;
      const size_t begin = step == 0 ? 0 : company.cuts[i][step - 1];
      const size_t count = company.cuts[i][step] - begin;
      rows.push_back({.sequence = static_cast<int>(i),
                      .ids = std::span(company.ids[i]).subspan(begin, count),
                      .wanted = AllPositions(count)});
    }
    if (rows.empty()) break;
    calls.clear();
    const LogitRows logits = session.Step(rows);
    for (const auto& [weight, times] : calls) EXPECT_EQ(times, 1) << "step " << step;
    EXPECT_FALSE(calls.empty());
    most_rows = std::max(most_rows, rows.size());
    size_t next = 0;
    for (const ModelSession::Row& row : rows) {
      for (size_t i = 0; i < row.ids.size(); ++i) together[static_cast<size_t>(row.sequence)].push_back(logits[next++]);
    }
  }
  EXPECT_GE(most_rows, 16u);
  ModelSession alone(kModel, {});
  for (size_t i = 0; i < company.ids.size(); ++i) {
    EXPECT_TRUE(SameBytes(alone.Run(company.ids[i], AllPositions(company.ids[i].size())), together[i]))
        << "sequence " << i;
  }
}

TEST(Invariance, LaterTokensNeverChangeEarlierLogits) {
  std::vector<int32_t> ids = RandomIds(130, 6);
  ModelSession session(kModel, {});
  const LogitRows before = session.Run(ids, AllPositions(100));
  for (size_t i = 100; i < ids.size(); ++i) ids[i] = (ids[i] + 1000) % 4000;
  EXPECT_TRUE(SameBytes(session.Run(ids, AllPositions(100)), before));
}

}  // namespace
}  // namespace latentd

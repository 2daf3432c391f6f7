// Sampling: which ids are kept and with what probabilities, in what order the rules apply, log-probabilities, and
// bytes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/id_bits.h"
#include "tests/kernels/sampling_backend.h"
#include "tests/reference/sampling.h"

namespace latentd {
namespace {

using testing::IsEmpty;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(size_t count, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& x : logits) x = normal(random);
  return logits;
}

std::vector<SampleResult> SampleRows(Ops& ops, std::vector<float> logits, std::span<const SampleRow> rows) {
  const int vocab = static_cast<int>(logits.size() / rows.size());
  return SampleOn(ops, {logits.data(), static_cast<int>(rows.size()), vocab, vocab}, rows);
}

class Sample : public testing::Test {
 protected:
  SampleResult One(const std::vector<float>& logits, const SampleRow& row) {
    return SampleRows(*backend_.ops, logits, std::span(&row, 1))[0];
  }
  // The ids that `draws` different positions give.
  std::vector<int32_t> Drawn(const std::vector<float>& logits, SampleRow row, uint32_t draws = 300) {
    std::vector<int32_t> ids;
    for (; row.position < draws; ++row.position) ids.push_back(One(logits, row).id);
    return ids;
  }
  std::mt19937 random_{11};  // fixed: a failure repeats

 private:
  Backend backend_ = MakeSamplingBackend(2, 200000);
};

TEST_F(Sample, GreedyTakesTheLargestAndTheLowerOfTwo) {
  EXPECT_EQ(One({1, 3, 3, 2}, {.rule = {.temperature = 0}}).id, 1);
  EXPECT_EQ(One({-5, -7, -5}, {.rule = {.temperature = 0}}).id, 0);
  EXPECT_EQ(One({4}, {.rule = {.temperature = 0}}).id, 0);
  EXPECT_EQ(One({1, 3, 3, 2}, {.rule = {.temperature = 0}}).sampled_logprob, 0.0f);
}

TEST_F(Sample, GreedyComesAfterPenaltiesBiasAndMasks) {
  const std::vector<float> logits = {5, 4, 3, 2};
  const std::vector<int32_t> text = {0, 0}, banned = {1};
  const std::vector<uint64_t> allowed = {0b1110};
  const std::vector<TokenBias> bias = {{3, 2.5f}};
  const std::vector<uint8_t> has_token = {1, 1, 0, 1};
  SampleRow row = {.rule = {.temperature = 0, .frequency_penalty = 0.6f}, .tokens = text};
  EXPECT_EQ(One(logits, row).id, 1);
  row = {.rule = {.temperature = 0}, .logit_bias = bias};
  EXPECT_EQ(One({5, 4, 3, 2.6f}, row).id, 3);
  EXPECT_EQ(One(logits, {.rule = {.temperature = 0}, .allowed = allowed}).id, 1);
  EXPECT_EQ(One(logits, {.rule = {.temperature = 0}, .allowed = allowed, .banned_ids = banned}).id, 2);
  EXPECT_EQ(
      One(logits, {.rule = {.temperature = 0}, .allowed = allowed, .has_token = has_token, .banned_ids = banned}).id,
      3);
}

// Positive logits are divided, others multiplied; before the penalties that count.
TEST_F(Sample, RepetitionPenaltyIsOfPromptAndAnswerOnce) {
  const std::vector<int32_t> text = {0, 0, 1};
  SampleRow row = {.rule = {.temperature = 0, .repetition_penalty = 2}, .tokens = text, .num_prompt_tokens = 2};
  EXPECT_EQ(One({8, 7, 3.9f}, row).id, 0);  // 4, 3.5, 3.9
  EXPECT_EQ(One({7.7f, 8, 3.9f}, row).id, 1);
  EXPECT_EQ(One({-1, -1.5f, -2.1f}, row).id, 0);  // -2, -3, -2.1
  row.rule.frequency_penalty = 1;                 // of the answer alone: id 1 once
  EXPECT_EQ(One({6, 8, 2.5f}, row).id, 0);        // 3, 4 - 1, 2.5
  EXPECT_EQ(One({5.9f, 8, 2.5f}, row).id, 1);
}

// The distribution that a draft is drawn from is that of the token which it stands for.
TEST_F(Sample, TokensBehindADraftCountAsThoseBeforeIt) {
  const std::vector<int32_t> text = {0, 0, 1, 0, 2, 2};
  for (const SamplingRule& rule : {SamplingRule{.temperature = 1.3f, .repetition_penalty = 2, .seed = 3},
                                   SamplingRule{.temperature = 1.3f, .presence_penalty = 1, .seed = 3},
                                   SamplingRule{.temperature = 1.3f, .frequency_penalty = 1, .seed = 3}}) {
    const SampleResult whole = One({4, 3.5f, 3, 3}, {.rule = rule, .tokens = text, .num_prompt_tokens = 2});
    const SampleResult parted = One({4, 3.5f, 3, 3}, {.rule = rule,
                                                      .tokens = std::span(text).first(3),
                                                      .further = std::span(text).subspan(3),
                                                      .num_prompt_tokens = 2});
    EXPECT_EQ(parted.id, whole.id);
    EXPECT_EQ(parted.sampled_logprob, whole.sampled_logprob);
  }
}

TEST_F(Sample, PresenceCountsOnceFrequencyEachTime) {
  const std::vector<int32_t> text = {2, 0, 0, 0, 1};
  const SampleRow presence = {
      .rule = {.temperature = 0, .presence_penalty = 1}, .tokens = text, .num_prompt_tokens = 1};
  const SampleRow frequency = {
      .rule = {.temperature = 0, .frequency_penalty = 1}, .tokens = text, .num_prompt_tokens = 1};
  EXPECT_EQ(One({5, 4.9f, 3}, presence).id, 0);
  EXPECT_EQ(One({5, 4.9f, 3}, frequency).id, 1);
  EXPECT_EQ(One({5, 3.9f, 3}, frequency).id, 2) << "a token of the prompt is not penalised";
}

TEST_F(Sample, PenaltiesLeaveNothingBehindForTheNextRow) {
  Backend backend = MakeSamplingBackend(1, 4);
  const std::vector<int32_t> text = {0, 0, 0}, other = {1};
  const std::vector<SampleRow> rows = {{.rule = {.temperature = 0, .frequency_penalty = 2}, .tokens = text},
                                       {.rule = {.temperature = 0, .frequency_penalty = 2}, .tokens = other}};
  const auto results = SampleRows(*backend.ops, {5, 1, 0, 0, 5, 1, 0, 0}, rows);
  EXPECT_EQ(results[0].id, 1);
  EXPECT_EQ(results[1].id, 0);
}

TEST_F(Sample, TopKKeepsTheLowerIdOfATie) {
  const auto ids = Drawn({1, 2, 2, 2, 0}, {.rule = {.top_k = 2}});
  EXPECT_THAT(ids, testing::Each(testing::AnyOf(1, 2)));
  EXPECT_THAT(ids, testing::IsSupersetOf({1, 2}));
  EXPECT_THAT(Drawn({1, 2, 2}, {.rule = {.top_k = 1}}, 50), testing::Each(1));
  EXPECT_THAT(Drawn({0, 0}, {.rule = {.top_k = 7}}, 50), testing::IsSupersetOf({0, 1}));
}

TEST_F(Sample, TopPKeepsTheTokenThatReachesIt) {
  const std::vector<float> logits = {std::log(.25f), std::log(.5f), std::log(.125f), std::log(.125f)};
  EXPECT_THAT(Drawn(logits, {.rule = {.top_p = 0.49f}}, 60), testing::Each(1));
  EXPECT_THAT(Drawn(logits, {.rule = {.top_p = 0.0f}}, 60), testing::Each(1));
  const auto two = Drawn(logits, {.rule = {.top_p = 0.51f}});
  EXPECT_THAT(two, testing::Each(testing::AnyOf(0, 1)));
  EXPECT_THAT(two, testing::Contains(0));
  EXPECT_THAT(Drawn(logits, {.rule = {.top_p = 0.76f}}), testing::Not(testing::Contains(3)))
      << "of equals the lower id is kept";
  EXPECT_THAT(Drawn(logits, {.rule = {.top_p = 1.0f}}), testing::IsSupersetOf({0, 1, 2, 3}));
}

// top-p counts shares of what top-k kept: 0.5 / 0.75 reaches 0.6, 0.5 alone would not.
TEST_F(Sample, TopPIsOfWhatTopKKept) {
  const std::vector<float> logits = {std::log(.25f), std::log(.5f), std::log(.125f), std::log(.125f)};
  EXPECT_THAT(Drawn(logits, {.rule = {.top_k = 2, .top_p = 0.6f}}, 100), testing::Each(1));
  EXPECT_THAT(Drawn(logits, {.rule = {.top_p = 0.6f}}), testing::Contains(0));
}

TEST_F(Sample, MinPIsRelativeToTheLargest) {
  const std::vector<float> logits = {0, std::log(.5f), std::log(.1f), std::log(.01f)};
  EXPECT_THAT(Drawn(logits, {.rule = {.min_p = 1.0f}}, 60), testing::Each(0));
  EXPECT_THAT(Drawn(logits, {.rule = {.min_p = 0.6f}}, 60), testing::Each(0));
  const auto ids = Drawn(logits, {.rule = {.min_p = 0.09f}}, 500);
  EXPECT_THAT(ids, testing::IsSupersetOf({0, 1, 2}));
  EXPECT_THAT(ids, testing::Not(testing::Contains(3)));
  EXPECT_THAT(Drawn(logits, {.rule = {.temperature = 2.0f, .min_p = 0.09f}}, 500), testing::Contains(3))
      << "after temperature";
}

TEST_F(Sample, NonFiniteLogitsAreReportedAndOtherRowsGoOn) {
  Backend backend = MakeSamplingBackend(2, 40);
  for (const float bad : {std::nanf(""), kInfinity, -kInfinity}) {
    for (const size_t at : {size_t{0}, size_t{17}, size_t{39}}) {
      std::vector<float> logits(80, 0.0f);
      logits[at] = bad;
      logits[45] = 1.0f;
      const std::vector<SampleRow> rows = {{.num_top_logprobs = 2}, {.rule = {.temperature = 0}}};
      const auto results = SampleRows(*backend.ops, logits, rows);
      EXPECT_FALSE(results[0].finite);
      EXPECT_EQ(results[0].id, -1);
      EXPECT_THAT(results[0].top, IsEmpty());
      EXPECT_TRUE(results[1].finite);
      EXPECT_EQ(results[1].id, 5);
    }
  }
}

TEST_F(Sample, NothingAllowedIsNotFinite) {
  const std::vector<int32_t> banned = {1};
  const std::vector<uint64_t> allowed = {0b10};
  for (const float temperature : {0.0f, 1.0f}) {
    const SampleResult result =
        One({1, 2, 3}, {.rule = {.temperature = temperature}, .allowed = allowed, .banned_ids = banned});
    EXPECT_FALSE(result.finite);
    EXPECT_EQ(result.id, -1);
  }
}

TEST_F(Sample, ExtremeTemperaturesStayFinite) {
  const std::vector<float> logits = {-3e38f, 3e38f, 2.9e38f};
  EXPECT_THAT(Drawn(logits, {.rule = {.temperature = 1e-6f}}, 40), testing::Each(1));
  EXPECT_THAT(Drawn({1, 2, 3}, {.rule = {.temperature = 1e-38f}}, 40), testing::Each(2));
  const auto flat = Drawn({-1, 0, 1}, {.rule = {.temperature = 3e38f}}, 200);
  EXPECT_THAT(flat, testing::IsSupersetOf({0, 1, 2}));
}

// No request makes finite logits into a row that passes for the model's fault.
TEST_F(Sample, PenaltiesAndBiasesSaturate) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const std::vector<int32_t> text = {0, 1, 2, 0};
  const std::vector<TokenBias> biases = {{1, 100.0f}, {2, -100.0f}};
  for (const std::vector<float>& logits :
       {std::vector<float>{5, -5, 0, 4}, {kLargest, -kLargest, 1e-45f, -1e-45f}, {-kLargest, -kLargest, kLargest, 0}}) {
    for (const float repetition : {1e-45f, 1e-38f, 0.5f, 1.0f, 100.0f, kLargest}) {
      for (const float penalty : {-2.0f, 0.0f, 2.0f}) {
        for (const float temperature : {0.0f, 1e-45f, 1e-38f, 1.0f, 100.0f}) {
          const SampleResult result = One(logits, {.rule = {.temperature = temperature,
                                                            .min_p = 1e-45f,
                                                            .presence_penalty = penalty,
                                                            .frequency_penalty = penalty,
                                                            .repetition_penalty = repetition},
                                                   .tokens = text,
                                                   .num_prompt_tokens = 2,
                                                   .logit_bias = biases,
                                                   .num_top_logprobs = 4});
          ASSERT_TRUE(result.finite) << logits[0] << " " << repetition << " " << penalty << " " << temperature;
          EXPECT_TRUE(std::isfinite(result.logprob) && std::isfinite(result.sampled_logprob));
          for (const TokenLogprob& top : result.top) EXPECT_TRUE(std::isfinite(top.logprob));
        }
      }
    }
  }
}

TEST_F(Sample, TinyRepetitionPenaltyPrefersWhatWasSaid) {
  const std::vector<int32_t> text = {1};
  const SampleRow row = {
      .rule = {.temperature = 0, .repetition_penalty = 1e-38f}, .tokens = text, .num_prompt_tokens = 1};
  EXPECT_EQ(One({5, 4, 3}, row).id, 1);
}

// The cost of a step does not grow with the list: it is a bitmap, whose ids may have been named any number of times.
TEST_F(Sample, AllowedIdsAreASetOfAnySize) {
  std::vector<float> logits = RandomLogits(1000, 5.0f, random_);
  for (const size_t count : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}}) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random_() % logits.size()));
    ids.insert(ids.end(), ids.begin(), ids.end());
    const std::vector<uint64_t> allowed = BitsOf(ids, logits.size());
    const auto less = [&](int32_t a, int32_t b) {
      return std::pair(logits[static_cast<size_t>(a)], -a) < std::pair(logits[static_cast<size_t>(b)], -b);
    };
    EXPECT_EQ(One(logits, {.rule = {.temperature = 0}, .allowed = allowed}).id,
              *std::max_element(ids.begin(), ids.end(), less));
  }
}

TEST_F(Sample, LogprobsAreOfTheRawDistribution) {
  const std::vector<int32_t> banned = {2}, text = {1};
  for (const size_t vocab : {size_t{5}, size_t{1000}, size_t{129280}}) {
    std::vector<float> logits = RandomLogits(vocab, 5.0f, random_);
    logits[3] = logits[1] = 30.0f;
    const std::vector<double> expected = reference::LogSoftmax(logits);
    const SampleResult result = One(logits, {.rule = {.temperature = 0.3f, .top_p = 0.5f, .presence_penalty = 1.5f},
                                             .tokens = text,
                                             .banned_ids = banned,
                                             .num_top_logprobs = 4});
    EXPECT_NEAR(result.logprob, expected[static_cast<size_t>(result.id)], 1e-5);
    ASSERT_EQ(result.top.size(), 4u);
    EXPECT_EQ(result.top[0].id, 1) << "ties to the lower id";
    EXPECT_EQ(result.top[1].id, 3);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(result.top[i].logprob, expected[static_cast<size_t>(result.top[i].id)], 1e-5);
      EXPECT_LE(result.top[i].logprob, result.top[i == 0 ? 0 : i - 1].logprob);
    }
    std::vector<double> sorted = expected;
    std::sort(sorted.rbegin(), sorted.rend());
    EXPECT_NEAR(result.top[3].logprob, sorted[3], 1e-5);
  }
}

TEST_F(Sample, ScoredIdDrawsNothing) {
  const std::vector<float> logits = RandomLogits(500, 3.0f, random_);
  const std::vector<double> expected = reference::LogSoftmax(logits);
  for (const int32_t id : {0, 123, 499}) {
    const SampleResult result = One(logits, {.rule = {.temperature = 0.5f}, .scored_id = id, .num_top_logprobs = 0});
    EXPECT_EQ(result.id, id);
    EXPECT_NEAR(result.logprob, expected[static_cast<size_t>(id)], 1e-5);
    EXPECT_THAT(result.top, IsEmpty());
  }
  EXPECT_NEAR(One(logits, {.scored_id = 7}).logprob, expected[7], 1e-5);
}

TEST_F(Sample, MoreTopLogprobsThanIdsGivesAll) {
  const SampleResult result = One({1, 2}, {.num_top_logprobs = 32});
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[0].id, 1);
  EXPECT_NEAR(result.top[0].logprob, -0.31326169, 1e-6);
  EXPECT_NEAR(result.top[1].logprob, -1.31326169, 1e-6);
}

TEST(SamplingRule, OnlyWhatMovesLogitsChangesAGreedyChoice) {
  const SamplingRule greedy{.temperature = 0};
  EXPECT_FALSE(greedy.ChangesGreedyChoice());
  EXPECT_FALSE(
      (SamplingRule{.temperature = 0, .top_k = 5, .top_p = 0.5f, .min_p = 0.1f, .seed = 7}).ChangesGreedyChoice());
  EXPECT_TRUE(SamplingRule{}.ChangesGreedyChoice());
  EXPECT_TRUE((SamplingRule{.temperature = 0, .presence_penalty = 1}).ChangesGreedyChoice());
  EXPECT_TRUE((SamplingRule{.temperature = 0, .frequency_penalty = 1}).ChangesGreedyChoice());
  EXPECT_TRUE((SamplingRule{.temperature = 0, .repetition_penalty = 2}).ChangesGreedyChoice());
}

TEST(SampleRow, WantsMoreThanTheLikeliestWhereItAsksForMore) {
  const SampleRow greedy{.rule = {.temperature = 0}};
  EXPECT_TRUE(greedy.WantsLikeliest());
  SampleRow row = greedy;
  row.num_top_logprobs = 0;
  EXPECT_FALSE(row.WantsLikeliest());
  row = greedy;
  row.scored_id = 3;
  EXPECT_FALSE(row.WantsLikeliest());
  const std::vector<TokenBias> bias = {{.id = 1, .bias = 2}};
  row = greedy;
  row.logit_bias = bias;
  EXPECT_FALSE(row.WantsLikeliest());
}

}  // namespace
}  // namespace latentd

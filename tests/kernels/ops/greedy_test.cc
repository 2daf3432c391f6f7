// Sample at temperature 0: the largest logit, ties to the lower id, and rows that are unfit to choose from.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/ops/tokens.h"

namespace latentd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kLargestVocab = 20011;

StepLimits LimitsOfSampling() {
  StepLimits limits = SmallLimits();
  limits.vocab_size = kLargestVocab;
  return limits;
}

class Greedy : public testing::Test {
 protected:
  std::vector<SampleResult> Sample(const std::vector<std::vector<float>>& logits, const SampleRow& row) {
    const DeviceRows rows(backend_, logits);
    BatchInputs inputs = TokensAt(std::vector<int32_t>(logits.size(), 0));
    for (size_t i = 0; i < logits.size(); ++i) inputs.logit_tokens.push_back(static_cast<int32_t>(i));
    const std::vector<SampleRow> samples(logits.size(), row);
    std::vector<SampleResult> results(logits.size());
    backend_.ops->Sample(backend_.ops->Upload(inputs, samples), rows.tensor());
    backend_.ops->Collect(results);
    return results;
  }
  SampleResult One(const std::vector<float>& logits) { return Sample({logits}, {.rule = {.temperature = 0}})[0]; }

  std::mt19937 random_{23};  // fixed: a failure repeats

 private:
  Backend backend_ = MakeTestBackend(LimitsOfSampling());
};

TEST_F(Greedy, TakesTheLargestOfAnyVocabulary) {
  for (const int vocab : {1, 5, 300, 8191, 8192, 8196, kLargestVocab}) {
    const auto logits = RandomRows(4, vocab, random_);
    const std::vector<SampleResult> results = Sample(logits, {.rule = {.temperature = 0}});
    for (size_t row = 0; row < logits.size(); ++row) {
      const auto largest = std::max_element(logits[row].begin(), logits[row].end());
      EXPECT_EQ(results[row].id, largest - logits[row].begin()) << "vocabulary " << vocab;
      EXPECT_TRUE(results[row].finite);
    }
  }
}

TEST_F(Greedy, FindsTheLargestWhereverItStands) {
  const size_t vocab = kLargestVocab;
  for (const size_t id : {size_t{0}, size_t{3}, size_t{127}, size_t{1024}, size_t{8191}, size_t{8192}, vocab - 1}) {
    std::vector<float> logits(vocab, -3.0f);
    logits[id] = -2.5f;
    EXPECT_EQ(One(logits).id, static_cast<int32_t>(id));
  }
}

TEST_F(Greedy, TiesGoToTheLowerId) {
  EXPECT_EQ(One({1, 3, 3, 2}).id, 1);
  EXPECT_EQ(One({-5, -7, -5}).id, 0);
  EXPECT_EQ(One({-1.0f, -0.0f, 0.0f, -0.0f}).id, 1) << "zeros of both signs are equal";
  EXPECT_EQ(One(std::vector<float>(kLargestVocab, -1e38f)).id, 0);
  for (const size_t first : {size_t{33}, size_t{2050}, size_t{8191}}) {  // in another lane, warp and part
    std::vector<float> logits(kLargestVocab, 0.0f);
    logits[first] = logits[first + 1] = logits[kLargestVocab - 2] = 7.0f;
    EXPECT_EQ(One(logits).id, static_cast<int32_t>(first));
  }
}

TEST_F(Greedy, LargestFiniteValuesAreFine) {
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(One({-most, most, 0}).id, 1);
  EXPECT_EQ(One({-most, -most}).id, 0);
  EXPECT_EQ(One({-most, std::numeric_limits<float>::denorm_min(), 0}).id, 1);
}

TEST_F(Greedy, NonFiniteLogitsAreReportedAndOtherRowsGoOn) {
  const size_t vocab = 9001;
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const size_t at : {size_t{0}, size_t{4500}, vocab - 1}) {
      std::vector<std::vector<float>> logits(3, std::vector<float>(vocab, 0.0f));
      logits[1][at] = bad;
      logits[0][17] = logits[2][8999] = 1.0f;
      const std::vector<SampleResult> results = Sample(logits, {.rule = {.temperature = 0}});
      EXPECT_EQ(results[0].id, 17);
      EXPECT_EQ(results[2].id, 8999);
      EXPECT_TRUE(results[0].finite && results[2].finite);
      EXPECT_FALSE(results[1].finite) << bad << " at " << at;
      EXPECT_EQ(results[1].id, -1);
    }
  }
}

TEST_F(Greedy, MasksLeaveTheBestOfTheRest) {
  std::vector<float> logits(9001, 0.0f);
  logits[8500] = 3.0f, logits[40] = 2.0f, logits[41] = 1.0f;
  std::vector<uint8_t> has_token(logits.size(), 1);
  has_token[8500] = 0;
  const std::vector<int32_t> banned = {40};
  EXPECT_EQ(Sample({logits}, {.rule = {.temperature = 0}, .has_token = has_token})[0].id, 40);
  EXPECT_EQ(Sample({logits}, {.rule = {.temperature = 0}, .has_token = has_token, .banned_ids = banned})[0].id, 41);
}

}  // namespace
}  // namespace latentd

// The draw itself: against a full sort in double, its frequencies, and that nothing but the row's own inputs moves it.
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/cpu/philox.h"
#include "kernels/id_bits.h"
#include "tests/kernels/sampling_backend.h"
#include "tests/reference/sampling.h"
#include "tests/support/each_target.h"

namespace latentd {
namespace {

// Rows of logits with everything that Sample reads; lists live here.
struct RandomRows {
  RandomRows(int count, size_t vocab, std::mt19937& random) : vocab(vocab) {
    for (int i = 0; i < count; ++i) AddRow(random);
    for (size_t i = 0; i < rows.size(); ++i) {
      if (with_text[i]) rows[i].tokens = texts[i];
      if (i % 3 == 0) rows[i].logit_bias = biases[i];
      if (i % 4 == 0) rows[i].allowed = allowed_bits[i];
      if (i % 5 == 0) rows[i].banned_ids = banned[i];
    }
  }

  void AddRow(std::mt19937& random) {
    const auto uniform = [&] { return std::uniform_real_distribution<float>()(random); };
    const auto id = [&] { return static_cast<int32_t>(random() % vocab); };
    std::normal_distribution<float> normal(0.0f, 0.5f + 6.0f * uniform());
    // A coarse grid makes ties common.
    const bool coarse = random() % 4 == 0;
    for (size_t i = 0; i < vocab; ++i) logits.push_back(coarse ? std::round(normal(random)) : normal(random));
    SampleRow row = {.rule = {.temperature = random() % 4 == 0 ? 1.0f : 0.05f + 2.0f * uniform()}};
    if (random() % 2 == 0) row.rule.top_k = 1 + static_cast<int>(random() % (vocab + 5));
    if (random() % 2 == 0) row.rule.top_p = uniform();
    if (random() % 3 == 0) row.rule.min_p = 0.3f * uniform();
    with_text.push_back(random() % 2 == 0);
    if (with_text.back()) {
      row.rule.presence_penalty = uniform();
      row.rule.frequency_penalty = uniform() - 0.5f;
      row.rule.repetition_penalty = 0.5f + uniform();
      row.num_prompt_tokens = 10;
    }
    row.rule.seed = (uint64_t{random()} << 32) | random();
    row.index = static_cast<uint32_t>(random() % 3);
    row.position = static_cast<uint32_t>(random());
    row.num_top_logprobs = 3;
    rows.push_back(row);
    texts.emplace_back(40);
    allowed.emplace_back(1 + random() % vocab);
    banned.emplace_back(3);
    for (auto* ids : {&texts.back(), &allowed.back(), &banned.back()}) {
      for (int32_t& value : *ids) value = id();
    }
    allowed_bits.push_back(BitsOf(allowed.back(), vocab));
    biases.push_back({{static_cast<int32_t>(vocab / 2), 5.0f}, {0, -100.0f}});
  }

  std::span<const float> Logits(size_t row) const { return std::span(logits).subspan(row * vocab, vocab); }
  Tensor AsTensor(size_t first, size_t count) {
    const int width = static_cast<int>(vocab);
    return {logits.data() + first * vocab, static_cast<int>(count), width, width};
  }

  size_t vocab;
  std::vector<float> logits;
  std::vector<SampleRow> rows;
  std::vector<bool> with_text;
  std::vector<std::vector<int32_t>> texts, allowed, banned;
  std::vector<std::vector<uint64_t>> allowed_bits;
  std::vector<std::vector<TokenBias>> biases;
};

std::vector<SampleResult> SampleAll(Ops& ops, RandomRows& random, size_t first, size_t count) {
  return SampleOn(ops, random.AsTensor(first, count), std::span(random.rows).subspan(first, count));
}

bool SameResult(const SampleResult& a, const SampleResult& b) {
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  const auto same = [&](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && bits(x.logprob) == bits(y.logprob);
  };
  return a.id == b.id && a.finite == b.finite && bits(a.logprob) == bits(b.logprob) &&
         bits(a.sampled_logprob) == bits(b.sampled_logprob) &&
         std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(), same);
}

// Where the draw falls within 1e-5 of a border of the distribution, single precision may answer with the neighbour.
TEST(SampleDraw, IsThatOfAFullSortInDouble) {
  std::mt19937 random(42);
  int compared = 0, total = 0;
  for (const size_t vocab : {size_t{1}, size_t{2}, size_t{17}, size_t{300}, size_t{4096}}) {
    Backend backend = MakeSamplingBackend(2, vocab);
    RandomRows rows(vocab == 4096 ? 300 : 1000, vocab, random);
    const auto results = SampleAll(*backend.ops, rows, 0, rows.rows.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const SampleRow& row = rows.rows[i];
      const std::vector<float> adjusted = reference::Adjusted(rows.Logits(i), row);
      if (*std::max_element(adjusted.begin(), adjusted.end()) == -std::numeric_limits<float>::infinity()) {
        EXPECT_FALSE(results[i].finite);
        continue;
      }
      ++total;
      const auto kept = reference::Distribution(rows.Logits(i), row);
      double margin = 0.0;
      const auto expected = reference::DrawFrom(kept, cpu::UniformDraw(row.rule.seed, row.index, row.position), margin);
      if (margin < 1e-5) continue;
      ++compared;
      ASSERT_EQ(results[i].id, expected.id) << "vocabulary " << vocab << " row " << i << " of " << kept.size();
      ASSERT_NEAR(results[i].sampled_logprob, std::log(expected.probability), 1e-4) << "row " << i;
    }
  }
  EXPECT_GT(compared, total * 95 / 100);
}

// A whole vocabulary, nearly flat: the draw reaches far behind the best tokens.
TEST(SampleDraw, OfALargeFlatVocabularyIsThatOfAFullSort) {
  constexpr size_t kVocab = 129280;
  std::mt19937 random(7);
  Backend backend = MakeSamplingBackend(1, kVocab);
  std::normal_distribution<float> normal(0.0f, 0.01f);
  std::vector<float> logits(kVocab);
  for (float& x : logits) x = normal(random);
  logits[5] = 9.0f;  // every other token stands behind the near ones
  for (uint32_t position = 0; position < 12; ++position) {
    const SampleRow row = {.rule = {.top_p = 0.999f, .seed = 3}, .position = position};
    const auto results = SampleOn(*backend.ops, {logits.data(), 1, kVocab, kVocab}, std::span(&row, 1));
    double margin = 0.0;
    const auto expected =
        reference::DrawFrom(reference::Distribution(logits, row), cpu::UniformDraw(3, 0, position), margin);
    // One rank holds 7e-6 of the weight, so compare the place in the order, not the id.
    EXPECT_NEAR(logits[static_cast<size_t>(results[0].id)], logits[static_cast<size_t>(expected.id)], 1e-4);
  }
}

TEST(SampleDraw, FrequenciesAreTheProbabilities) {
  constexpr int kDraws = 40000;
  Backend backend = MakeSamplingBackend(1, 12);
  std::vector<float> logits = {0.3f, -1.0f, 2.0f, 1.1f, 0.0f, -2.0f, 1.9f, 0.7f, -0.4f, 1.1f, -3.0f, 0.2f};
  const SampleRow cases[] = {
      {}, {.rule = {.temperature = 0.7f, .top_p = 0.9f}}, {.rule = {.temperature = 1.5f, .top_k = 7, .min_p = 0.1f}}};
  for (SampleRow row : cases) {
    std::map<int32_t, int> count;
    for (row.rule.seed = 0; row.rule.seed < kDraws; ++row.rule.seed) {
      ++count[SampleOn(*backend.ops, {logits.data(), 1, 12, 12}, std::span(&row, 1))[0].id];
    }
    const auto kept = reference::Distribution(logits, row);
    double chi_squared = 0.0;
    for (const auto& [id, probability] : kept) {
      const double expected = probability * kDraws;
      chi_squared += (count[id] - expected) * (count[id] - expected) / expected;
    }
    EXPECT_EQ(count.size(), kept.size());
    // p > 1e-4 for up to 11 degrees of freedom; the seeds are fixed, so this holds always or never.
    EXPECT_LT(chi_squared, 37.4);
  }
}

TEST(SampleDraw, EveryPartOfTheKeyMatters) {
  Backend backend = MakeSamplingBackend(1, 1000);
  std::vector<float> logits(1000, 0.0f);
  const auto draw = [&](const SampleRow& row) {
    return SampleOn(*backend.ops, {logits.data(), 1, 1000, 1000}, std::span(&row, 1))[0].id;
  };
  // A flat distribution: the id is the draw itself.
  const SampleRow row = {.rule = {.seed = 77}, .index = 1, .position = 5};
  EXPECT_EQ(draw(row), static_cast<int32_t>(1000 * cpu::UniformDraw(77, 1, 5)));
  EXPECT_NE(draw(row), draw({.rule = {.seed = 78}, .index = 1, .position = 5}));
  EXPECT_NE(draw(row), draw({.rule = {.seed = 77 + (uint64_t{1} << 32)}, .index = 1, .position = 5}));
  EXPECT_NE(draw(row), draw({.rule = {.seed = 77}, .index = 2, .position = 5}));
  EXPECT_NE(draw(row), draw({.rule = {.seed = 77}, .index = 1, .position = 6}));
}

TEST(SampleDraw, BitsDependOnNeitherCompanyNorThreadsNorTarget) {
  std::mt19937 random(9);
  for (const size_t vocab : {size_t{33}, size_t{1000}}) {
    RandomRows rows(32, vocab, random);
    Backend one = MakeSamplingBackend(1, vocab);
    const auto expected = SampleAll(*one.ops, rows, 0, 32);
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_TRUE(SameResult(SampleAll(*one.ops, rows, i, 1)[0], expected[i])) << "row " << i << " alone";
    }
    for (const int threads : {1, 2, 5}) {
      Backend backend = MakeSamplingBackend(threads, vocab);
      ForEachTarget([&] {
        const auto results = SampleAll(*backend.ops, rows, 0, 32);
        for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(SameResult(results[i], expected[i])) << "row " << i;
      });
    }
  }
}

TEST(SampleDraw, LeavesTheLogitsAlone) {
  std::mt19937 random(10);
  RandomRows rows(8, 100, random);
  const std::vector<float> before = rows.logits;
  Backend backend = MakeSamplingBackend(1, 100);
  SampleAll(*backend.ops, rows, 0, 8);
  EXPECT_EQ(rows.logits, before);
}

}  // namespace
}  // namespace latentd

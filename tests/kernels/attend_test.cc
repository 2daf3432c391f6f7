// AttendLatent on the CPU against its contract, as bytes; what holds for any backend is in ops/attend_test.cc.
#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/attention_case.h"
#include "tests/kernels/attention_shapes.h"
#include "tests/kernels/emulated_product.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

Backend MakeBackend(const AttentionCase& c, int num_threads) {
  Backend backend = MakeCpuBackend(num_threads).value();
  EXPECT_TRUE(backend.ops->Reserve(c.Limits()).ok());
  return backend;
}

// What the cache holds and what is multiplied: fp32 latents do not go with bf16 activations, and attention under FP8
// activations is that under fp32.
struct Numerics {
  LatentFormat latents;
  ActivationFormat activations;
};
constexpr Numerics kNumerics[] = {{LatentFormat::kF32, ActivationFormat::kF32},
                                  {LatentFormat::kBf16, ActivationFormat::kF32},
                                  {LatentFormat::kFp8, ActivationFormat::kF32},
                                  {LatentFormat::kBf16, ActivationFormat::kBf16},
                                  {LatentFormat::kFp8, ActivationFormat::kBf16}};

std::ostream& operator<<(std::ostream& out, const Numerics& numerics) {
  return out << NameOf(numerics.latents) << " latents, " << NameOf(numerics.activations) << " activations";
}

class Attend : public testing::Test {
 protected:
  std::mt19937 random_{77};  // fixed: a failure repeats
};

// The last two tokens of each sequence, from a first key on.
void ExpectContractFrom(const AttentionCase& c, const std::vector<int>& first_keys) {
  std::vector<std::vector<std::vector<float>>> contract;
  for (size_t s = 0; s < first_keys.size(); ++s) {
    const auto sequence = static_cast<int>(s);
    contract.push_back(
        {c.Contract(sequence, c.lengths[s] - 2, first_keys[s]), c.Contract(sequence, c.lengths[s] - 1, first_keys[s])});
  }
  ForEachTarget([&] {
    Backend backend = MakeBackend(c, 2);
    const auto outputs = c.Run(backend, AttentionCase::From(first_keys, c.Tails(2)));
    for (size_t s = 0; s < first_keys.size(); ++s) {
      SCOPED_TRACE(testing::Message() << c.lengths[s] << " keys from " << first_keys[s]);
      EXPECT_TRUE(SameBytes(outputs[s].end()[-2], contract[s][0]));
      EXPECT_TRUE(SameBytes(outputs[s].end()[-1], contract[s][1]));
    }
  });
}

// One step's outputs of some tokens against the contract over what the cache holds, on each target.
void ExpectContract(const AttentionCase& c) {
  ForEachTarget([&] {
    Backend backend = MakeBackend(c, 2);
    const auto outputs = c.Run(backend, {{{0, 0, 1}, {1, 60, 30}, {2, 1070, 30}}});
    EXPECT_TRUE(SameBytes(outputs[0][0], c.Contract(0, 0)));
    for (const int token : {60, 63, 64, 89}) {
      EXPECT_TRUE(SameBytes(outputs[1][static_cast<size_t>(token)], c.Contract(1, token))) << token;
    }
    for (const int token : {1070, 1087, 1088, 1099}) {
      EXPECT_TRUE(SameBytes(outputs[2][static_cast<size_t>(token)], c.Contract(2, token))) << token;
    }
  });
}

TEST_F(Attend, KeepsItsContractBitForBit) {
  for (const AttentionShape& shape : {kTinyTales, kOdd}) {
    for (const Numerics& numerics : kNumerics) {
      SCOPED_TRACE(testing::PrintToString(numerics));
      ExpectContract({shape, DType::kE4M3, {1, 90, 1100}, random_, numerics.latents, numerics.activations});
    }
    ExpectContract({shape, DType::kF32, {1, 90, 1100}, random_});
    for (const DType weights : {DType::kF32, DType::kBf16}) {
      ExpectContract({shape, weights, {1, 90, 1100}, random_, LatentFormat::kBf16, ActivationFormat::kBf16});
    }
  }
}

TEST_F(Attend, FromItsFirstKeyKeepsItsContractBitForBit) {
  for (const AttentionShape& shape : {kTinyTales, kOdd}) {
    for (const Numerics& numerics : kNumerics) {
      SCOPED_TRACE(testing::PrintToString(numerics));
      ExpectContractFrom({shape, DType::kBf16, kCutLengths, random_, numerics.latents, numerics.activations},
                         kFirstKeys);
    }
  }
}

// Groups of tokens and of heads whose first tile is cut, in one step and in chunks.
TEST_F(Attend, FromItsFirstKeyBitsDependOnNeitherThreadsNorTargetNorStep) {
  const std::vector<int> first_keys = {0, 40, 65, 513};
  for (const AttentionShape& shape : {kOdd, kManyHeads}) {
    for (const Numerics& numerics : kNumerics) {
      SCOPED_TRACE(testing::PrintToString(numerics));
      const AttentionCase c(shape, DType::kE4M3, {20, 80, 130, 570}, random_, numerics.latents, numerics.activations);
      const std::vector<std::vector<Chunk>> whole =
          AttentionCase::From(first_keys, {{{0, 0, 20}, {1, 40, 40}, {2, 65, 65}, {3, 513, 57}}});
      Backend one = MakeBackend(c, 1);
      const auto expected = c.Run(one, whole);
      ForEachTarget([&] {
        Backend backend = MakeBackend(c, 5);
        EXPECT_TRUE(SameOutputs(c.Run(backend, AttentionCase::From(first_keys, c.Tails(18))), expected));
      });
      const std::vector<std::vector<Chunk>> chunks = {
          {{1, 40, 3}, {3, 513, 20}}, {{1, 43, 30}, {2, 65, 1}}, {{2, 66, 64}, {3, 533, 37}}};
      EXPECT_TRUE(SameOutputs(c.Run(one, AttentionCase::From(first_keys, chunks), {.block_seed = 5, .padding_rows = 3}),
                              expected));
    }
  }
}

// W_UK and W_UV of heads that start at whole groups of 32 rows, and of others.
TEST_F(Attend, OnTilesKeepsItsContractBitForBit) {
  const OnTiles tiles;
  for (const AttentionShape& shape : {kTinyTales, kOdd}) {
    for (const DType weights : {DType::kE4M3, DType::kBf16})
      ExpectContract({shape, weights, {1, 90, 1100}, random_, LatentFormat::kBf16, ActivationFormat::kBf16});
  }
}

// Latents of several groups, the last one short.
TEST_F(Attend, GroupsOfFp8KeepTheContract) {
  const AttentionShape wide = {
      .num_heads = 2, .nope_width = 9, .rope_width = 6, .value_width = 21, .latent_width = 300};
  for (const ActivationFormat activations : {ActivationFormat::kF32, ActivationFormat::kBf16}) {
    ExpectContract({wide, DType::kF32, {1, 90, 1100}, random_, LatentFormat::kFp8, activations});
  }
}

// Latents that bf16 holds as subnormal numbers, and sums that become such: read and written as zero.
TEST_F(Attend, SubnormalNumbersAreZeroUnderA16) {
  for (const float tiny : {1e-38f, 1e-37f, 3e-36f}) {
    AttentionCase c(kOdd, DType::kBf16, {1, 90, 1100}, random_, LatentFormat::kBf16, ActivationFormat::kBf16);
    c.ChangeLatents([&](int, int, std::vector<float>& latent) {
      for (float& value : latent) value *= tiny;
    });
    ExpectContract(c);
  }
}

TEST_F(Attend, RoundsOnlyWhatA16Rounds) {
  for (const LatentFormat latents : {LatentFormat::kBf16, LatentFormat::kFp8}) {
    const AttentionCase c(kTinyTales, DType::kBf16, {700}, random_, latents, ActivationFormat::kBf16);
    const double error = RelativeError(c.Contract(0, 699), c.Reference(0, 699));
    EXPECT_LT(error, 0.01) << NameOf(latents);
    EXPECT_GT(error, 1e-5) << NameOf(latents);
  }
}

TEST_F(Attend, BitsDependOnNeitherThreadsNorTarget) {
  for (const AttentionShape& shape : {kTinyTales, kOdd, kManyHeads}) {
    for (const Numerics& numerics : kNumerics) {
      SCOPED_TRACE(testing::PrintToString(numerics));
      const AttentionCase c(shape, DType::kE4M3, {1, 20, 64, 530, 70}, random_, numerics.latents, numerics.activations);
      Backend one = MakeBackend(c, 1);
      const auto expected = c.Run(one, c.Whole());
      for (const int threads : {2, 5}) {
        Backend backend = MakeBackend(c, threads);
        EXPECT_TRUE(SameOutputs(c.Run(backend, c.Whole()), expected)) << threads << " threads";
      }
      ForEachTarget([&] {
        Backend backend = MakeBackend(c, 1);
        EXPECT_TRUE(SameOutputs(c.Run(backend, c.Tails(18)), expected));
      });
      EXPECT_TRUE(SameOutputs(c.Run(one, c.InChunksOf(27), {.block_seed = 5, .padding_rows = 3}), expected));
    }
  }
}

// A latent that is not finite reaches no token before it, though they share tiles and groups of 32 keys.
TEST_F(Attend, TokensSeeNothingBehindThem) {
  for (const Numerics& numerics : kNumerics) {
    SCOPED_TRACE(testing::PrintToString(numerics));
    AttentionCase c(kOdd, DType::kBf16, {90}, random_, numerics.latents, numerics.activations);
    Backend first = MakeBackend(c, 2);
    const auto expected = c.Run(first, c.Whole());
    c.ChangeLatents([](int, int token, std::vector<float>& latent) {
      if (token >= 70) latent[3] = std::numeric_limits<float>::quiet_NaN();
    });
    ForEachTarget([&] {
      Backend backend = MakeBackend(c, 2);
      const auto outputs = c.Run(backend, c.Whole());
      for (size_t token = 0; token < 70; ++token) {
        EXPECT_TRUE(SameBytes(outputs[0][token], expected[0][token])) << token;
      }
      EXPECT_TRUE(std::isnan(outputs[0][70][0]));
    });
  }
}

// 64 tokens of this shape over three ranges are more than the scratch memory holds: several waves and rounds.
TEST_F(Attend, WavesAndRoundsAreTheWhole) {
  const AttentionShape shape = {
      .num_heads = 128, .nope_width = 16, .rope_width = 64, .value_width = 16, .latent_width = 512};
  for (const Numerics& numerics : {kNumerics[0], kNumerics[3]}) {
    const AttentionCase c(shape, DType::kBf16, {1100, 40}, random_, numerics.latents, numerics.activations);
    Backend backend = MakeBackend(c, 2);
    const auto together = c.Run(backend, {{{0, 1036, 64}, {1, 0, 40}}});
    const auto alone = c.Run(backend, {{{0, 1036, 1}}, {{0, 1083, 1}}, {{0, 1084, 16}}, {{1, 39, 1}}, {{1, 0, 3}}});
    EXPECT_TRUE(SameOutputs(alone, together));
    const auto cut = c.Run(backend, {{{0, 1036, 64, 530}, {1, 10, 30, 1}}});
    EXPECT_TRUE(SameOutputs(c.Run(backend, {{{0, 1083, 1, 530}}, {{0, 1084, 16, 530}}, {{1, 39, 1, 1}}}), cut));
    if (numerics.activations == ActivationFormat::kBf16) continue;  // its contract takes seconds here
    EXPECT_TRUE(SameBytes(together[0].back(), c.Contract(0, 1099)));
    EXPECT_TRUE(SameBytes(cut[0].back(), c.Contract(0, 1099, 530)));
  }
}

// What the scratch memory of a large model plans for a step.
struct Plan {
  int waves = 0;
  int rounds = 0;
  int ranges = 0;  // of each token
  int tokens = 0;
};

Plan PlanOf(const std::vector<BatchRow>& rows) {
  const AttentionShape large = {
      .num_heads = 128, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};
  cpu::CpuDevice device(cpu::AttentionScratch::kMaxBytes + 4096);
  cpu::AttentionScratch scratch;
  EXPECT_TRUE(scratch.Reserve(device, {.max_tokens = 8192, .max_context = 163840, .attention = large}, 2).ok());
  BatchInputs batch;
  batch.rows = rows;
  batch.token_ids.resize(static_cast<size_t>(rows.back().first_token + rows.back().num_tokens));
  batch.blocks.resize(2560);
  Plan plan;
  for (int token = 0; token < batch.num_tokens(); ++plan.waves) {
    token = scratch.PlanWave(ViewOf(batch), token);
    plan.tokens += scratch.num_tokens();
    for (; scratch.PlanRound(); ++plan.rounds) {
      for (const cpu::RangeStretch& stretch : scratch.stretches()) {
        plan.ranges += (stretch.end_range - stretch.first_range) * stretch.group.num_tokens;
      }
    }
  }
  return plan;
}

TEST(AttentionScratch, StaysWithinItsBound) {
  const Plan plan = PlanOf({{.first_token = 0, .num_tokens = 1, .first_position = 163839},
                            {.first_token = 1, .num_tokens = 99, .first_position = 40}});
  EXPECT_EQ(plan.tokens, 100);
  EXPECT_EQ(plan.ranges, 320 + 99);  // of 512 keys
  EXPECT_GT(plan.waves, 1);
  EXPECT_GT(plan.rounds, plan.waves);
}

TEST(AttentionScratch, RangesBeforeTheFirstKeyAreNotPlanned) {
  const Plan plan = PlanOf({{.first_token = 0, .num_tokens = 1, .first_position = 163839, .first_key = 162000},
                            {.first_token = 1, .num_tokens = 99, .first_position = 1100, .first_key = 1023}});
  EXPECT_EQ(plan.tokens, 100);
  EXPECT_EQ(plan.ranges, 4 + 2 * 99);
}

TEST(AttentionScratchDeathTest, ARowsFirstKeyIsNotBehindItsFirstToken) {
  EXPECT_DEATH(PlanOf({{.num_tokens = 5, .first_position = 40, .first_key = 41}}), "row.first_key");
}

TEST(AttentionScratch, RefusesWhatTheDeviceDoesNotHave) {
  cpu::CpuDevice device(1000);
  cpu::AttentionScratch scratch;
  EXPECT_EQ(scratch.Reserve(device, {.max_tokens = 100, .max_context = 100, .attention = kTinyTales}, 2).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace latentd

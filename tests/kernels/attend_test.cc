// AttendLatent on the CPU against its contract, as bytes; what holds for any backend is in ops/attend_test.cc.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/attention_case.h"
#include "tests/kernels/attention_shapes.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

Backend MakeBackend(const AttentionCase& c, int num_threads) {
  Backend backend = MakeCpuBackend(num_threads).value();
  EXPECT_TRUE(backend.ops->Reserve(c.Limits()).ok());
  return backend;
}

constexpr LatentFormat kFormats[] = {LatentFormat::kF32, LatentFormat::kBf16, LatentFormat::kFp8};

class Attend : public testing::Test {
 protected:
  std::mt19937 random_{77};  // fixed: a failure repeats
};

// One step's outputs of some tokens against the contract over what the cache holds, on each target.
void ExpectContract(const AttentionCase& c) {
  Backend backend = MakeBackend(c, 2);
  ForEachTarget([&] {
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
    for (const LatentFormat format : kFormats) {
      SCOPED_TRACE(NameOf(format));
      ExpectContract({shape, DType::kE4M3, {1, 90, 1100}, random_, format});
    }
    ExpectContract({shape, DType::kF32, {1, 90, 1100}, random_});
  }
}

// Latents of several groups, the last one short.
TEST_F(Attend, GroupsOfFp8KeepTheContract) {
  const AttentionShape wide = {
      .num_heads = 2, .nope_width = 9, .rope_width = 6, .value_width = 21, .latent_width = 300};
  ExpectContract({wide, DType::kF32, {1, 90, 1100}, random_, LatentFormat::kFp8});
}

TEST_F(Attend, BitsDependOnNeitherThreadsNorTarget) {
  for (const AttentionShape& shape : {kTinyTales, kOdd, kManyHeads}) {
    for (const LatentFormat format : kFormats) {
      SCOPED_TRACE(NameOf(format));
      const AttentionCase c(shape, DType::kE4M3, {1, 20, 64, 530, 70}, random_, format);
      Backend one = MakeBackend(c, 1);
      const auto expected = c.Run(one, c.Whole());
      for (const int threads : {2, 5}) {
        Backend backend = MakeBackend(c, threads);
        EXPECT_TRUE(SameOutputs(c.Run(backend, c.Whole()), expected)) << threads << " threads";
      }
      ForEachTarget([&] { EXPECT_TRUE(SameOutputs(c.Run(one, c.Tails(18)), expected)); });
    }
  }
}

// 64 tokens of this shape over three ranges are more than the scratch memory holds: several waves and rounds.
TEST_F(Attend, WavesAndRoundsAreTheWhole) {
  const AttentionShape shape = {
      .num_heads = 128, .nope_width = 16, .rope_width = 64, .value_width = 16, .latent_width = 512};
  const AttentionCase c(shape, DType::kBf16, {1100, 40}, random_);
  Backend backend = MakeBackend(c, 2);
  const auto together = c.Run(backend, {{{0, 1036, 64}, {1, 0, 40}}});
  const auto alone = c.Run(backend, {{{0, 1036, 1}}, {{0, 1083, 1}}, {{0, 1084, 16}}, {{1, 39, 1}}, {{1, 0, 3}}});
  EXPECT_TRUE(SameOutputs(alone, together));
  EXPECT_TRUE(SameBytes(together[0].back(), c.Contract(0, 1099)));
}

TEST(AttentionScratch, StaysWithinItsBound) {
  const AttentionShape large = {
      .num_heads = 128, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};
  cpu::CpuDevice device(cpu::AttentionScratch::kMaxBytes + 4096);
  cpu::AttentionScratch scratch;
  ASSERT_TRUE(scratch.Reserve(device, {.max_tokens = 8192, .max_context = 163840, .attention = large}, 2).ok());
  BatchInputs batch;
  batch.token_ids.resize(100);
  batch.blocks.resize(2560);
  batch.rows = {{.first_token = 0, .num_tokens = 1, .first_position = 163839},
                {.first_token = 1, .num_tokens = 99, .first_position = 40}};
  int waves = 0, rounds = 0, ranges = 0, tokens = 0;
  for (int token = 0; token < 100; ++waves) {
    token = scratch.PlanWave(ViewOf(batch), token);
    tokens += scratch.num_tokens();
    for (; scratch.PlanRound(); ++rounds) {
      for (const cpu::RangeStretch& stretch : scratch.stretches()) {
        ranges += (stretch.end_range - stretch.first_range) * stretch.group.num_tokens;
      }
    }
  }
  EXPECT_EQ(tokens, 100);
  EXPECT_EQ(ranges, 320 + 99);  // of 512 keys
  EXPECT_GT(waves, 1);
  EXPECT_GT(rounds, waves);
}

TEST(AttentionScratch, RefusesWhatTheDeviceDoesNotHave) {
  cpu::CpuDevice device(1000);
  cpu::AttentionScratch scratch;
  EXPECT_EQ(scratch.Reserve(device, {.max_tokens = 100, .max_context = 100, .attention = kTinyTales}, 2).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace latentd

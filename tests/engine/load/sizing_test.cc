#include "engine/load/sizing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// 10 GB of weights, 4 MiB a block, as a 16 B model with 27 layers has them.
MemoryFacts LargeModel(uint64_t available_mib) {
  return {.available_bytes = available_mib * kMiB,
          .weight_bytes = 10'000 * kMiB,
          .block_bytes = 4 * kMiB,
          .step_bytes = [](int tokens) { return static_cast<uint64_t>(tokens) * (200 << 10); }};
}

MemoryFacts BundledModel(uint64_t available_mib) {
  return {.available_bytes = available_mib * kMiB,
          .weight_bytes = 8 * kMiB,
          .block_bytes = 100 << 10,
          .step_bytes = [](int tokens) { return static_cast<uint64_t>(tokens) * (20 << 10); }};
}

LoadOptions With(int64_t LoadOptions::*knob, int64_t value) {
  LoadOptions options;
  options.*knob = value;
  return options;
}

TEST(Sizing, CacheHoldsFullContextsForEveryRowWhereThereIsMemory) {
  const CacheSize cache = OrDie(CacheBlocks(With(&LoadOptions::max_rows, 64), BundledModel(16'000), 2048, 512));
  EXPECT_EQ(cache.num_blocks, 64 * 32 + 1);
  EXPECT_THAT(cache.reason, HasSubstr("max-rows=64 full contexts"));
}

TEST(Sizing, CacheTakesHalfOfWhatTheWeightsLeave) {
  const CacheSize cache = OrDie(CacheBlocks(With(&LoadOptions::max_rows, 64), LargeModel(22'000), 163'840, 512));
  EXPECT_EQ(cache.num_blocks, (22'000 - 10'000 - 100) / 2 / 4);
  EXPECT_THAT(cache.reason, HasSubstr("half of the 11900.0 MiB"));
}

TEST(Sizing, ASmallContainerGetsASmallCache) {
  const CacheSize cache = OrDie(CacheBlocks(With(&LoadOptions::max_rows, 64), BundledModel(100), 2048, 256));
  EXPECT_LT(uint64_t(cache.num_blocks) * BundledModel(100).block_bytes, 50 * kMiB);
  EXPECT_GT(cache.num_blocks, 300);
}

TEST(Sizing, TheOperatorsWordCounts) {
  EXPECT_EQ(OrDie(CacheBlocks(With(&LoadOptions::kv_blocks, 9), LargeModel(22'000), 4096, 512)).num_blocks, 9);
  EXPECT_EQ(OrDie(CacheBlocks(With(&LoadOptions::kv_bytes, 40 << 20), LargeModel(22'000), 4096, 512)).num_blocks, 10);
}

TEST(Sizing, NoRoomForACacheIsAnErrorWithTheNumbers) {
  const auto cache = CacheBlocks(With(&LoadOptions::max_rows, 64), LargeModel(10'100), 4096, 512);
  ASSERT_FALSE(cache.ok());
  const std::string message(cache.status().message());
  EXPECT_THAT(message, HasSubstr("10100.0 MiB available"));
  EXPECT_THAT(message, HasSubstr("--kv-bytes"));
  EXPECT_FALSE(CacheBlocks(With(&LoadOptions::kv_bytes, 1), LargeModel(22'000), 4096, 512).ok());
  EXPECT_FALSE(CacheBlocks(With(&LoadOptions::kv_blocks, 1), LargeModel(22'000), 4096, 512).ok());
}

TEST(Sizing, StepsAreSmallerWhereMemoryIsShort) {
  EXPECT_EQ(StepTokens({}, LargeModel(22'000)), 512);
  EXPECT_EQ(StepTokens({}, LargeModel(1000)), 256);
  EXPECT_EQ(StepTokens({}, LargeModel(1)), 64);
  EXPECT_EQ(StepTokens(With(&LoadOptions::max_step_tokens, 7), LargeModel(1)), 7);
}

TEST(Sizing, DraftsHaveLogitsOfTheirOwn) {
  const auto logits = [](std::string speculate, int rows, int max_drafts) {
    return MostStepLogits({.speculate = std::move(speculate), .max_rows = rows}, max_drafts, 512);
  };
  EXPECT_EQ(logits("off", 8, 0), 64);
  EXPECT_EQ(logits("auto", 100, 0), 100) << "the checkpoint can't draft";
  EXPECT_EQ(logits("auto", 8, 8), 72);
  EXPECT_EQ(logits("auto", 64, 8), 128);
  EXPECT_EQ(logits("2", 64, 2), 192);
  EXPECT_EQ(logits("1", 8, 1), 64);
  EXPECT_EQ(logits("8", 64, 8), 512) << "a step has no more tokens";
  EXPECT_EQ(logits("8", 600, 8), 600) << "each row has one";
}

TEST(Sizing, AMinuteOfPromptsMayWait) {
  EXPECT_EQ(QueuedTokens(With(&LoadOptions::max_queued_requests, 256), 1000.0, 163'840), 60'000);
  EXPECT_EQ(QueuedTokens(With(&LoadOptions::max_queued_requests, 256), 20'000.0, 2048), 256 * 2048);
  EXPECT_EQ(QueuedTokens(With(&LoadOptions::max_queued_requests, 256), 1.0, 163'840), 4096);
  EXPECT_EQ(QueuedTokens(With(&LoadOptions::max_queued_tokens, 5), 1000.0, 2048), 5);
}

TEST(Sizing, NumbersAreGrouped) {
  EXPECT_EQ(Grouped(7), "7");
  EXPECT_EQ(Grouped(131072), "131,072");
  EXPECT_EQ(Grouped(1234567), "1,234,567");
}

}  // namespace
}  // namespace latentd

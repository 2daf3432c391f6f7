// The forward pass against the paper in double, and the double against what transformers recorded.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "tests/model/goldens.h"
#include "tests/reference/model.h"
#include "tests/support/model_session.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

reference::ForwardResult Reference(const std::filesystem::path& directory, std::span<const int32_t> ids) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  CHECK(config.ok());
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  CHECK(checkpoint.ok());
  return reference::Forward(*checkpoint, *config, ids);
}

// The largest difference of two sets of logits, relative to the largest logit.
double LargestDifference(const LogitRows& logits, const reference::Rows& expected) {
  double largest = 0.0, magnitude = 0.0;
  EXPECT_EQ(logits.size(), expected.size());
  for (size_t t = 0; t < logits.size(); ++t) {
    EXPECT_EQ(logits[t].size(), expected[t].size());
    for (size_t i = 0; i < logits[t].size(); ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(logits[t][i]) - expected[t][i]));
      magnitude = std::max(magnitude, std::fabs(expected[t][i]));
    }
  }
  return largest / magnitude;
}

TEST(Reference, AgreesWithTransformersOnShortPrompts) {
  const Goldens goldens("tests/data/tiny-tales/goldens-fp8.safetensors");
  for (const std::string prompt : {"short", "king", "chat"}) {
    const reference::ForwardResult result = Reference("models/tiny-tales", goldens.Ints("ids." + prompt));
    const std::vector<float> expected = goldens.Floats("logits." + prompt);
    for (size_t i = 0; i < expected.size(); ++i) {
      const reference::Row& row = result.logits[i / result.logits[0].size()];
      ASSERT_NEAR(row[i % row.size()], expected[i], 1e-4) << prompt << " value " << i;
    }
  }
}

struct Variant {
  std::string name;
  TinyCheckpoint checkpoint;
};
std::ostream& operator<<(std::ostream& out, const Variant& variant) { return out << variant.name; }

class RandomCheckpoint : public ::testing::TestWithParam<Variant> {};

TEST_P(RandomCheckpoint, LogitsAgreeWithThePaperInDouble) {
  for (const uint64_t seed : {1, 2}) {
    TinyCheckpoint options = GetParam().checkpoint;
    options.seed = seed;
    const TemporaryDirectory directory;
    WriteTinyCheckpoint(options, directory.path());
    std::mt19937_64 random(seed);
    std::vector<int32_t> ids(150);  // two blocks and a partial one
    for (int32_t& id : ids) id = std::uniform_int_distribution<int32_t>(0, options.vocab_size - 1)(random);

    const reference::ForwardResult expected = Reference(directory.path(), ids);
    ASSERT_GT(expected.smallest_routing_margin, 1e-6)
        << "seed " << seed << ": two correct engines may route differently";
    ModelSession session(directory.path(), {.num_blocks = 16, .max_tokens = 256});
    EXPECT_LE(LargestDifference(session.Run(ids, AllPositions(ids.size()), 100), expected.logits), 1e-5)
        << "seed " << seed;
  }
}

// A weight may be anything that is finite: the pass neither stops nor leaves its buffers, whatever the logits are.
TEST(DamagedWeights, FlippedWeightBitsAreComputedWith) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({.projections = DType::kE4M3}, directory.path());
  const std::filesystem::path file = directory.path() / "model.safetensors";
  std::mt19937_64 random(3);
  const uintmax_t size = std::filesystem::file_size(file);
  int computed = 0;
  for (int round = 0; round < 30; ++round) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto place =
        static_cast<std::streamoff>(std::uniform_int_distribution<uintmax_t>(size / 4, size - 1)(random));
    stream.seekg(place);
    const char byte = static_cast<char>(stream.get());
    stream.seekp(place);
    stream.put(static_cast<char>(byte ^ 0x40));
    stream.close();
    const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
    ASSERT_TRUE(config.ok());
    if (!Checkpoint::Open(directory.path(), *config).ok()) break;  // flips add up until one is refused
    ModelSession session(directory.path(), {.num_blocks = 4, .max_tokens = 16});
    const std::vector<int32_t> ids = {1, 2, 3, 4, 5};
    EXPECT_EQ(session.Run(ids, AllPositions(ids.size())).size(), ids.size());
    ++computed;
  }
  EXPECT_GT(computed, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, RandomCheckpoint,
    ::testing::Values(
        Variant{"bf16", {}}, Variant{"fp8", {.projections = DType::kE4M3}},
        Variant{"fp8_without_query_compression", {.query_latent_width = 0, .projections = DType::kE4M3}},
        Variant{"fp32_tied",
                {.num_mtp_layers = 0, .tied_embedding = true, .projections = DType::kF32, .others = DType::kF32}},
        Variant{"one_group_no_shared_expert_no_yarn",
                {.num_shared_experts = 0, .num_groups = 1, .groups_per_token = 1, .yarn_factor = 1.0}},
        Variant{"softmax_routing", {.model_type = "deepseek_v2", .num_mtp_layers = 0}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace latentd

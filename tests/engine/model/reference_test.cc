// The paper in double against what transformers recorded, and what the forward pass makes of damaged weights.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/engine/model/goldens.h"
#include "tests/reference/model.h"
#include "tests/support/model_session.h"
#include "tests/support/shared_goldens.h"
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

// The oracle of the variants' tests, itself against what was recorded; its own margins say that no choice was in doubt.
TEST(Reference, AgreesWithTransformersOnEveryFamily) {
  if (!AreThere(SharedGoldens("goldens/family"))) GTEST_SKIP();
  for (const std::string family :
       {"v2_lite", "v2", "v3", "v31", "v31_e8m0", "moonlight", "k2", "glm4_moe_lite", "fp32"}) {
    const std::filesystem::path directory = SharedGoldens("goldens/family") / family;
    const Goldens goldens(directory / "goldens.safetensors");
    for (const std::string prompt : {"n2", "n64"}) {
      const reference::ForwardResult result = Reference(directory, goldens.Ints("ids." + prompt));
      EXPECT_GT(result.smallest_routing_margin, 1e-6) << family << " " << prompt;
      const std::vector<float> expected = goldens.Floats("logits." + prompt);
      const size_t width = result.logits[0].size();
      ASSERT_EQ(expected.size(), result.logits.size() * width);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(result.logits[i / width][i % width], expected[i], 1e-3)
            << family << " " << prompt << " value " << i;
      }
    }
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
    const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory.path(), *config);
    if (!checkpoint.ok() || !checkpoint->CheckUnread(1).ok()) break;  // flips add up until one is refused
    ModelSession session(directory.path(), {.num_blocks = 4, .max_tokens = 16});
    const std::vector<int32_t> ids = {1, 2, 3, 4, 5};
    EXPECT_EQ(session.Run(ids, AllPositions(ids.size())).size(), ids.size());
    ++computed;
  }
  EXPECT_GT(computed, 0);
}

}  // namespace
}  // namespace latentd

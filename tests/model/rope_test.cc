// Golden values of spec 3.4.
#include "engine/model/rope.h"

#include <map>

#include <gtest/gtest.h>

#include "engine/model/model_config.h"
#include "tests/model/published_configs.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

ModelConfig Load(std::string_view json) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", json);
  absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : ModelConfig();
}

void ExpectFrequencies(const ModelConfig& config, const std::map<size_t, double>& goldens) {
  const std::vector<double> frequencies = RopeFrequencies(config);
  ASSERT_EQ(frequencies.size(), 32u);
  for (const auto& [pair, golden] : goldens) {
    EXPECT_NEAR(frequencies[pair], golden, 1e-6 * golden) << "pair " << pair;
  }
}

const std::map<size_t, double> kV3Frequencies = {{0, 1.0},           {10, 0.0562341325},  {11, 0.0390069266},
                                                 {16, 0.0055},       {20, 7.90569415e-4}, {23, 3.33380358e-5},
                                                 {31, 3.33380358e-6}};

TEST(Rope, DeepSeekV3) {
  const ModelConfig config = Load(kV3Json);
  ExpectFrequencies(config, kV3Frequencies);
  EXPECT_NEAR(config.softmax_scale, 0.1352337789, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
  EXPECT_EQ(config.rope.pairs, RopePairs::kAdjacent);
}

TEST(Rope, DeepSeekV2LiteHasItsOwnMscale) {
  const ModelConfig config = Load(kV2LiteJson);
  ExpectFrequencies(config, kV3Frequencies);
  EXPECT_NEAR(config.softmax_scale, 0.1147213868, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
}

TEST(Rope, KimiK2IsAStep) {
  const ModelConfig k32 = Load(KimiK2Json(32.0));
  ExpectFrequencies(k32, {{0, 1.0}, {19, 1.62175991e-3}, {20, 3.61404677e-5}});
  EXPECT_NEAR(k32.softmax_scale, 0.1308608000, 1e-9);
  const ModelConfig k64 = Load(KimiK2Json(64.0));
  ExpectFrequencies(k64, {{19, 1.62175991e-3}, {20, 3.61404677e-5 / 2.0}});
  EXPECT_NEAR(k64.softmax_scale, 0.1446796258, 1e-9);
}

TEST(Rope, MoonlightHasNoScaling) {
  const ModelConfig config = Load(kMoonlightJson);
  EXPECT_FALSE(config.rope.yarn.has_value());
  ExpectFrequencies(config, {{0, 1.0}, {1, 0.713111084911932}, {16, 0.00447213595499958}});
  EXPECT_NEAR(config.softmax_scale, 0.0721687836, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
}

// Where mscale_all_dim is absent, sharpening goes into cosines and sines, not into the logits.
TEST(Rope, AmplitudeWithoutMscaleAllDim) {
  ModelConfig config = Load(kV3Json);
  config.rope.yarn->mscale_all_dim = 0.0;
  EXPECT_NEAR(RopeAmplitude(config.rope), 1.3688879454, 1e-9);
  EXPECT_NEAR(SoftmaxScale(config.attention, config.rope), 0.0721687836, 1e-9);
}

}  // namespace
}  // namespace latentd

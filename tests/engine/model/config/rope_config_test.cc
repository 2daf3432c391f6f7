// The spellings in which config.json says how positions are rotated.
#include "engine/model/config/rope_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/engine/model/config/edited_config.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RopeConfig, RopeParametersOfNewerFiles) {
  json config = V3();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_type"] = "yarn";
  config["rope_parameters"]["rope_theta"] = 50000;
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["dtype"] = "bfloat16";
  config.erase("torch_dtype");
  absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->rope.theta, 50000.0);
  ASSERT_TRUE(loaded->rope.yarn.has_value());
  EXPECT_EQ(loaded->rope.yarn->factor, 40.0);

  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->rope.theta, 1e6);
  EXPECT_FALSE(loaded->rope.yarn.has_value());
}

TEST(RopeConfig, HalfSplitPairsWhereTheFileSaysSo) {
  const absl::StatusOr<ModelConfig> config = Load(V3With("/rope_interleave", false));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.pairs, RopePairs::kHalfSplit);
}

TEST(RopeConfig, YarnWithoutItsOriginalContextTakesTheWindow) {
  json config = V3();
  config["rope_scaling"].erase("original_max_position_embeddings");
  absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->rope.yarn->original_context, 163840);
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("rope_scaling.original_max_position_embeddings is not there: "
                                                      "max_position_embeddings = 163840 is taken for it")));
  config["original_max_position_embeddings"] = 8192;
  loaded = Load(config);
  EXPECT_EQ(loaded->rope.yarn->original_context, 8192);
  EXPECT_THAT(loaded->warnings, ::testing::IsEmpty());
}

TEST(RopeConfig, BothSpellingsOfRopeMayStandSideBySideWhereTheyAgree) {
  json config = V3();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_type"] = "yarn";
  config["rope_parameters"]["rope_theta"] = 10000;
  EXPECT_EQ(Load(config)->rope, Load(V3())->rope);
  config["rope_scaling"].erase("beta_slow");  // 1 by default
  EXPECT_EQ(Load(config)->rope, Load(V3())->rope);
  config["rope_scaling"]["factor"] = 4;
  EXPECT_THAT(Load(config).status().message(),
              HasSubstr("rope_scaling: expected nothing beside rope_parameters, or the same; remove one of the two"));
}

TEST(RopeConfig, RopeParametersOfEachKindOfLayerMustAgree) {
  json config = V3();
  json rope = config["rope_scaling"];
  rope["rope_type"] = "yarn";
  rope["rope_theta"] = 10000;
  config.erase("rope_scaling");
  config["rope_parameters"] = {{"full_attention", rope}, {"sliding_attention", rope}};
  EXPECT_EQ(Load(config)->rope, Load(V3())->rope);
  config["rope_parameters"] = {{"full_attention", rope}, {"sliding_attention", nullptr}};
  EXPECT_EQ(Load(config)->rope, Load(V3())->rope);
  rope["rope_theta"] = 50000;
  config["rope_parameters"]["sliding_attention"] = rope;
  EXPECT_THAT(Load(config).status().message(),
              HasSubstr("rope_parameters.sliding_attention: expected the same rotation for every kind of layer"));
}

TEST(RopeConfig, OtherSpellingsOfRope) {
  EXPECT_FALSE(Load(V3With("/rope_scaling", json::object()))->rope.yarn) << "empty is none";
  json vllm = V3();
  vllm["rope_scaling"]["rope_type"] = vllm["rope_scaling"]["type"] = "deepseek_yarn";
  EXPECT_EQ(Load(vllm)->rope, Load(V3())->rope);
  const absl::StatusOr<ModelConfig> unknown = Load(V3With("/rope_scaling/finetuned", true));
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_THAT(unknown->warnings, ElementsAre(HasSubstr("rope_scaling has keys that nothing reads: 'finetuned'")));
}

// The window may be shorter than what YaRN stretched; the model stays the same, and the window is what the file says.
TEST(RopeConfig, AShortWindowKeepsYarn) {
  const absl::StatusOr<ModelConfig> config = Load(V3With("/max_position_embeddings", 2048));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_context, 2048);
  ASSERT_TRUE(config->rope.yarn.has_value());
  EXPECT_EQ(config->rope.yarn->original_context, 4096);
  EXPECT_EQ(config->softmax_scale, Load(V3())->softmax_scale);
}

}  // namespace
}  // namespace latentd

// What config.json leaves out means what it means to transformers, whose classes vLLM and SGLang read it through, or is
// refused by its name. tests/data/config_defaults.json has the defaults of 4.57.6, and of 5.24.0 for glm4_moe_lite,
// which says first_k_dense_replace as a list of kinds of layers. Kimi-K2's files bring DeepSeek-V3's class.
#include <fstream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/engine/model/config/edited_config.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Everything that the forward pass reads.
json Facts(const ModelConfig& config) {
  const AttentionShape& attention = config.attention;
  const RoutingRule& routing = config.routing;
  return {{"sizes",
           {config.vocab_size, config.hidden_size, config.num_layers, config.max_context, config.query_latent_width,
            config.dense_width, config.expert_width, config.shared_expert_width, config.first_moe_layer,
            config.moe_layer_period}},
          {"attention",
           {attention.num_heads, attention.nope_width, attention.rope_width, attention.value_width,
            attention.latent_width}},
          {"routing",
           {routing.num_experts, routing.experts_per_token, routing.num_groups, routing.groups_per_token,
            static_cast<int>(routing.score), static_cast<int>(routing.group_score), routing.normalize, routing.scale,
            config.has_routing_bias}},
          {"numbers",
           {config.epsilon, config.latent_epsilon, config.rope.theta, static_cast<int>(config.rope.pairs),
            config.softmax_scale, config.tied_embedding}}};
}

// A file that says all of `defaults`.
json FileOf(const std::string& model_type, const json& defaults) {
  json config = V3();
  config.erase("scoring_func");
  config.erase("topk_method");
  config.update(defaults);
  config["model_type"] = model_type;
  if (config["num_experts_per_tok"].is_null()) config["num_experts_per_tok"] = 6;
  return config;
}

json Recorded() {
  std::ifstream file("tests/data/config_defaults.json");
  return json::parse(file);
}

// Sizes: all files say them, and the tensors' shapes would contradict a guess.
const std::set<std::string> kRefused = {
    "vocab_size",          "hidden_size",         "num_hidden_layers", "max_position_embeddings",
    "num_attention_heads", "qk_nope_head_dim",    "qk_rope_head_dim",  "v_head_dim",
    "kv_lora_rank",        "num_experts_per_tok", "intermediate_size", "moe_intermediate_size"};

TEST(ConfigDefaults, OfEachKeyAreThoseOfTransformersOrItIsRefused) {
  int num_cases = 0;
  const json recorded = Recorded();
  for (const auto& [model_type, defaults] : recorded.items()) {
    for (const auto& [key, value] : defaults.items()) {
      SCOPED_TRACE(model_type + "." + key);
      const json said = FileOf(model_type, defaults);
      json left_out = said;
      left_out.erase(key);
      const absl::StatusOr<ModelConfig> expected = Load(said), found = Load(left_out);
      ASSERT_TRUE(expected.ok()) << expected.status();
      if (kRefused.contains(key)) {
        EXPECT_THAT(std::string(found.status().message()), HasSubstr(key + ": expected an integer from "));
      } else {
        ASSERT_TRUE(found.ok()) << found.status();
        EXPECT_EQ(Facts(*found), Facts(*expected));
      }
      ++num_cases;
    }
  }
  EXPECT_EQ(num_cases, 108);
}

TEST(ConfigDefaults, ThatDecideTheNumbersAreSaidInOneWarning) {
  EXPECT_THAT(Load(V3())->warnings, IsEmpty());
  json config = V3();
  for (const char* key : {"q_lora_rank", "n_group", "routed_scaling_factor", "n_shared_experts"}) config.erase(key);
  EXPECT_THAT(
      Load(config)->warnings,
      ElementsAre(HasSubstr("q_lora_rank = 1536, n_group = 8, routed_scaling_factor = 2.5, n_shared_experts = 1 "
                            "is taken, as by the class that transformers has for deepseek_v3")));
  EXPECT_THAT(Load(json::parse(kV2LiteJson))->warnings, IsEmpty());
  EXPECT_THAT(Load(json::parse(kMoonlightJson))->warnings, IsEmpty());
}

// In Python null is None and no default: there is none of it.
TEST(ConfigDefaults, NullIsNotLeftOut) {
  EXPECT_EQ(Load(V3With("/q_lora_rank", nullptr))->query_latent_width, 0);
  EXPECT_EQ(Load(V3With("/n_shared_experts", nullptr))->shared_expert_width, 0);
  EXPECT_EQ(Load(V3With("/n_routed_experts", nullptr))->routing.num_experts, 0);
  for (const char* key : {"n_group", "topk_group", "routed_scaling_factor", "first_k_dense_replace"}) {
    const absl::Status status = Load(V3With((std::string("/") + key).c_str(), nullptr)).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(key) + ": expected a")) << key;
  }
}

TEST(ConfigDefaults, ThatDoNotFitAreRefusedByName) {
  json few = V3();
  few.erase("n_group");
  few["n_routed_experts"] = 4;
  EXPECT_THAT(std::string(Load(few).status().message()), HasSubstr("n_group: expected an integer from 1 to 4"));
  json groups = V3();
  groups.erase("topk_group");
  groups["n_group"] = 2;
  EXPECT_THAT(std::string(Load(groups).status().message()), HasSubstr("topk_group: expected an integer from 1 to 2"));
  json limited = json::parse(kV2LiteJson);
  limited["topk_method"] = "group_limited_greedy";
  limited.erase("n_group");
  EXPECT_THAT(std::string(Load(limited).status().message()), HasSubstr("n_group: expected an integer"));
}

}  // namespace
}  // namespace latentd

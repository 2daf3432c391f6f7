#include "engine/model/config/model_config.h"

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "engine/model/weights.h"
#include "tests/engine/model/config/edited_config.h"
#include "tests/engine/model/config/published_configs.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelConfig, DeepSeekV3) {
  const absl::StatusOr<ModelConfig> config = Load(V3());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model_type, "deepseek_v3");
  EXPECT_EQ(config->architecture, "DeepseekV3ForCausalLM");
  EXPECT_EQ(config->vocab_size, 129280);
  EXPECT_EQ(config->hidden_size, 7168);
  EXPECT_EQ(config->num_layers, 61);
  EXPECT_EQ(config->num_mtp_layers, 1);
  EXPECT_EQ(config->max_context, 163840);
  EXPECT_EQ(config->query_latent_width, 1536);
  EXPECT_EQ(config->attention.num_heads, 128);
  EXPECT_EQ(config->attention.query_width(), 192);
  EXPECT_EQ(config->attention.latent_width, 512);
  EXPECT_EQ(config->attention.value_width, 128);
  EXPECT_EQ(config->dense_width, 18432);
  EXPECT_EQ(config->expert_width, 2048);
  EXPECT_EQ(config->shared_expert_width, 2048);
  EXPECT_FALSE(config->IsMoe(2));
  EXPECT_TRUE(config->IsMoe(3));
  EXPECT_TRUE(config->IsMoe(61));
  EXPECT_TRUE(config->has_routing_bias);
  EXPECT_EQ(config->routing.num_experts, 256);
  EXPECT_EQ(config->routing.experts_per_token, 8);
  EXPECT_EQ(config->routing.num_groups, 8);
  EXPECT_EQ(config->routing.groups_per_token, 4);
  EXPECT_EQ(config->routing.score, ExpertScore::kSigmoid);
  EXPECT_EQ(config->routing.group_score, GroupScore::kTopTwoSum);
  EXPECT_TRUE(config->routing.normalize);
  EXPECT_EQ(config->routing.scale, 2.5f);
  EXPECT_TRUE(config->quantization.declared_fp8);
  EXPECT_FALSE(config->quantization.power_of_two_scales);
  EXPECT_EQ(config->bos_id, 0);
  EXPECT_THAT(config->eos_ids, ElementsAre(1));
  EXPECT_FALSE(config->generation.temperature.has_value());
}

TEST(ModelConfig, V2LiteRoutesGreedilyBySoftmaxWithoutBias) {
  const absl::StatusOr<ModelConfig> config = Load(json::parse(kV2LiteJson));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->query_latent_width, 0);
  EXPECT_EQ(config->shared_expert_width, 2816);
  EXPECT_EQ(config->routing.score, ExpertScore::kSoftmax);
  EXPECT_EQ(config->routing.num_groups, 1);
  EXPECT_FALSE(config->routing.normalize);
  EXPECT_FALSE(config->has_routing_bias);
  EXPECT_FALSE(config->quantization.declared_fp8);
  EXPECT_EQ(config->num_mtp_layers, 0);
}

TEST(ModelConfig, GroupLimitedGreedyTakesTheGroupsMaximum) {
  json config = json::parse(kV2LiteJson);
  config["topk_method"] = "group_limited_greedy";
  config["n_group"] = 8;
  config["topk_group"] = 3;
  const absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->routing.group_score, GroupScore::kMax);
  EXPECT_EQ(loaded->routing.num_groups, 8);
  EXPECT_EQ(loaded->routing.groups_per_token, 3);
}

TEST(ModelConfig, LatentNormsKeepTheirOwnEpsilon) {
  const absl::StatusOr<ModelConfig> config = Load(json::parse(kMoonlightJson));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->epsilon, 1e-5);
  EXPECT_EQ(config->latent_epsilon, 1e-6);
}

TEST(ModelConfig, ALongKeyOverManyValuesCostsNoMoreThanTheFile) {
  json config = V3();
  config[std::string(400'000, 'k')] = std::vector<int>(300'000, 1);  // 120 GB, were they kept by their paths
  EXPECT_TRUE(Load(config).ok());
}

TEST(ModelConfig, KeysThatFamiliesLeaveOut) {
  json v3 = V3();
  for (const char* key :
       {"scoring_func", "topk_method", "norm_topk_prob", "moe_layer_freq", "hidden_act", "num_key_value_heads",
        "tie_word_embeddings", "num_nextn_predict_layers", "bos_token_id", "quantization_config"}) {
    v3.erase(key);
  }
  absl::StatusOr<ModelConfig> config = Load(v3);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->routing.score, ExpertScore::kSigmoid);
  EXPECT_TRUE(config->has_routing_bias);
  EXPECT_TRUE(config->routing.normalize);
  EXPECT_FALSE(config->bos_id.has_value());

  v3["model_type"] = "deepseek_v2";
  config = Load(v3);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->routing.score, ExpertScore::kSoftmax);
  EXPECT_EQ(config->routing.num_groups, 1);
  EXPECT_FALSE(config->routing.normalize);
}

TEST(ModelConfig, PowerOfTwoScales) {
  const absl::StatusOr<ModelConfig> config = Load(V3With("/quantization_config/scale_fmt", "ue8m0"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->quantization.power_of_two_scales);
}

TEST(ModelConfig, AllLayersAreDenseWithoutExperts) {
  const absl::StatusOr<ModelConfig> config = Load(V3With("/n_routed_experts", nullptr));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->IsMoe(60));
}

TEST(ModelConfig, LayerKindsMayBeListedTwice) {
  json config = V3With("/num_hidden_layers", 4);
  config["mlp_layer_types"] = {"dense", "dense", "dense", "sparse"};
  EXPECT_TRUE(Load(config).ok());
  config["mlp_layer_types"][0] = "sparse";
  EXPECT_THAT(Load(config).status().message(), HasSubstr("mlp_layer_types.0: expected dense"));
}

TEST(ModelConfig, LayerKindsMayBeListedInPlaceOfTheRule) {
  json config = V3With("/num_hidden_layers", 4);
  config.erase("first_k_dense_replace");
  EXPECT_EQ(Load(config)->first_moe_layer, 3);
  config["mlp_layer_types"] = {"dense", "dense", "sparse", "sparse"};
  EXPECT_EQ(Load(config)->first_moe_layer, 2);
  config["mlp_layer_types"] = {"dense", "sparse", "dense", "sparse"};
  EXPECT_THAT(Load(config).status().message(), HasSubstr("mlp_layer_types.2: expected sparse"));
}

TEST(ModelConfig, IntegersAreNumbersNullIsAbsentAndUnknownKeysAreIgnored) {
  json config = V3();
  config["routed_scaling_factor"] = 2;
  config["rope_scaling"]["mscale"] = 1;
  config["rope_scaling"]["beta_fast"] = 32.0;
  for (const char* key : {"hidden_act", "n_shared_experts", "quantization_config", "index_topk", "attention_bias",
                          "bos_token_id", "rope_parameters", "moe_layer_freq"}) {
    config[key] = nullptr;
  }
  for (const char* key : {"ep_size", "aux_loss_alpha", "pretraining_tp", "head_dim", "use_cache", "auto_map"}) {
    config[key] = {{"anything", {1, "two"}}};
  }
  const absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->routing.scale, 2.0f);
  EXPECT_EQ(loaded->rope.yarn->mscale, 1.0);
  EXPECT_EQ(loaded->shared_expert_width, 0);
  EXPECT_FALSE(loaded->quantization.declared_fp8);
}

TEST(ModelConfig, OneGroupNeedsNoTopkGroup) {
  json config = json::parse(kMoonlightJson);
  config["topk_group"] = nullptr;
  config["n_routed_experts"] = 67;
  config["num_experts_per_tok"] = 1;
  const absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->routing.num_groups, 1);
  EXPECT_EQ(loaded->routing.groups_per_token, 1);
  EXPECT_EQ(loaded->routing.experts_per_token, 1);
  EXPECT_TRUE(loaded->routing.normalize);  // RouteExperts leaves a single weight as it is
}

TEST(ModelConfig, SparseAttentionIsReadButNotComputable) {
  json config = V3With("/model_type", "deepseek_v32");
  config["index_n_heads"] = 64;
  config["index_head_dim"] = 128;
  config["index_topk"] = 2048;
  const absl::StatusOr<ModelConfig> loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->indexer.num_heads, 64);
  EXPECT_EQ(loaded->indexer.head_width, 128);
  EXPECT_EQ(loaded->indexer.selected_tokens, 2048);
  const absl::Status status = CheckComputable(*loaded);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("deepseek_v32: expected attention to all positions, found sparse"));
  EXPECT_TRUE(CheckComputable(*Load(V3())).ok());
  EXPECT_TRUE(CheckComputable(*Load(json::parse(kV2LiteJson))).ok());

  for (const char* key : {"index_n_heads", "index_head_dim", "index_topk"}) {
    json without = config;
    without.erase(key);
    EXPECT_THAT(Load(without).status().message(), HasSubstr(key));
  }
  json narrow = config, plain_query = config;
  narrow["index_head_dim"] = 32;
  EXPECT_THAT(Load(narrow).status().message(), HasSubstr("index_head_dim: expected at least qk_rope_head_dim = 64"));
  plain_query["q_lora_rank"] = nullptr;
  EXPECT_THAT(Load(plain_query).status().message(), HasSubstr("q_lora_rank: expected query compression"));
}

TEST(ModelConfig, GenerationConfigOverrides) {
  const absl::StatusOr<ModelConfig> config =
      Load(V3(), json{{"bos_token_id", 7}, {"eos_token_id", {1, 3, 5}}, {"temperature", 1}, {"top_p", 0.95}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->bos_id, 7);
  EXPECT_THAT(config->eos_ids, ElementsAre(1, 3, 5));
  EXPECT_EQ(config->generation.temperature, 1.0);
  EXPECT_EQ(config->generation.top_p, 0.95);
}

TEST(ModelConfig, EndOfSequenceIsTheUnionOfBothFiles) {
  EXPECT_THAT(Load(V3(), json{{"eos_token_id", 5}})->eos_ids, ElementsAre(5, 1));
  EXPECT_THAT(Load(V3With("/eos_token_id", json{1, 7}), json{{"eos_token_id", {5, 7}}})->eos_ids, ElementsAre(5, 7, 1));
  EXPECT_THAT(Load(V3With("/eos_token_id", nullptr), json{{"eos_token_id", 5}})->eos_ids, ElementsAre(5));
  EXPECT_THAT(Load(V3With("/eos_token_id", nullptr))->eos_ids, ::testing::IsEmpty());
}

TEST(ModelConfig, ArchitectureIsTheFirstThatTheFileNames) {
  EXPECT_EQ(Load(V3With("/architectures", json{"Own", "Other"}))->architecture, "Own");
  EXPECT_EQ(Load(V3With("/architectures", nullptr))->architecture, "deepseek_v3");
}

TEST(ModelConfig, NamesThatTransformersMapsToThese) {
  json config = V3();
  config["num_mtp_layers"] = config["num_nextn_predict_layers"];
  config["num_local_experts"] = config["n_routed_experts"];
  config.erase("num_nextn_predict_layers");
  config.erase("n_routed_experts");
  EXPECT_EQ(Load(config)->num_mtp_layers, 1);
  EXPECT_EQ(Load(config)->routing.num_experts, 256);
}

TEST(ModelConfig, GenerationConfigMayLieElsewhere) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", V3().dump());
  WriteFile(directory.path() / "generation_config.json", R"({"temperature": 0.5, "eos_token_id": 9, "num_beams": 2})");
  WriteFile(directory.path() / "other.json", R"({"top_k": 7})");
  EXPECT_EQ(LoadModelConfig(directory.path())->generation.temperature, 0.5);
  EXPECT_THAT(LoadModelConfig(directory.path())->warnings, ElementsAre(HasSubstr("left aside: num_beams")));
  const auto none = LoadModelConfig(directory.path(), {.file = {}, .part = GenerationPart::kTokenIds});
  EXPECT_FALSE(none->generation.temperature);
  EXPECT_THAT(none->eos_ids, ElementsAre(9, 1));
  const auto other =
      LoadModelConfig(directory.path(), {.file = directory.path() / "other.json", .part = GenerationPart::kAll});
  EXPECT_EQ(other->generation.top_k, 7);
  EXPECT_THAT(other->eos_ids, ElementsAre(1));
  EXPECT_FALSE(LoadModelConfig(directory.path(), {.file = "/nowhere", .part = GenerationPart::kAll}).ok());
}

TEST(ModelConfig, DigestFollowsTheFile) {
  EXPECT_EQ(Load(V3())->digest, Load(V3())->digest);
  EXPECT_NE(Load(V3())->digest, Load(V3With("/rms_norm_eps", 1e-5))->digest);
}

struct Refusal {
  const char* pointer;
  json value;  // null: the key is absent
  const char* message;
};

void ExpectOneLine(const absl::Status& status, const char* message) {
  ASSERT_FALSE(status.ok()) << message;
  const std::string text(status.message());
  EXPECT_THAT(text, HasSubstr(message));
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

const Refusal kRefusals[] = {
    {"/model_type", "deepseek",
     "model_type: expected a supported architecture (deepseek_v3, deepseek_v2, kimi_k2 "
     "or glm4_moe_lite), found 'deepseek'"},
    {"/model_type", "deepseek_v4", "found 'deepseek_v4'"},
    {"/model_type", "glm_moe_dsa", "found 'glm_moe_dsa'"},
    {"/model_type", "kimi_linear", "found 'kimi_linear'"},
    {"/model_type", "llama", "found 'llama'"},
    {"/model_type", nullptr, "model_type: expected a string, found nothing"},
    {"/model_type", 3, "model_type: expected a string, found 3"},
    {"/model_type", "deep\nseek", "found 'deep\\nseek'"},
    {"/vocab_size", nullptr, "vocab_size: expected an integer from 2 to 4194304, found nothing"},
    {"/vocab_size", 0, "vocab_size: "},
    {"/hidden_size", -7168, "hidden_size: expected an integer from 1 to 262144, found -7168"},
    {"/hidden_size", 7168.5, "found 7168.5"},
    {"/hidden_size", "7168", "found '7168'"},
    {"/hidden_size", true, "hidden_size: "},
    {"/hidden_size", json::array({7168}), "found a list"},
    {"/hidden_size", json::object(), "found an object"},
    {"/hidden_size", 4294967296 + 7168, "found 4294974464"},
    {"/hidden_size", 18446744073709551615u, "hidden_size: "},
    {"/num_hidden_layers", 1000000, "num_hidden_layers: "},
    {"/num_nextn_predict_layers", -1, "num_nextn_predict_layers: "},
    {"/max_position_embeddings", 1e12, "max_position_embeddings: "},
    {"/max_position_embeddings", nullptr, "max_position_embeddings: "},
    {"/intermediate_size", 2147483647, "intermediate_size: "},
    {"/moe_intermediate_size", nullptr, "moe_intermediate_size: "},
    {"/num_attention_heads", 0, "num_attention_heads: "},
    {"/num_key_value_heads", 8, "num_key_value_heads: expected num_attention_heads = 128"},
    {"/q_lora_rank", -1, "q_lora_rank: "},
    {"/kv_lora_rank", nullptr, "kv_lora_rank: "},
    {"/qk_nope_head_dim", 1 << 20, "qk_nope_head_dim: "},
    {"/qk_rope_head_dim", 63, "qk_rope_head_dim: expected an even number, found 63"},
    {"/v_head_dim", 0, "v_head_dim: "},
    {"/first_k_dense_replace", -1, "first_k_dense_replace: "},
    {"/moe_layer_freq", 0, "moe_layer_freq: "},
    {"/n_routed_experts", 1 << 30, "n_routed_experts: "},
    {"/n_routed_experts", 520, "n_routed_experts: expected an integer from 0 to 512, found 520"},
    {"/n_routed_experts", 257, "n_group: expected a divisor of n_routed_experts = 257, found 8"},
    {"/n_shared_experts", 1000, "n_shared_experts: "},
    {"/num_experts_per_tok", 129, "num_experts_per_tok: expected an integer from 1 to 32, found 129"},
    {"/num_experts_per_tok", nullptr, "num_experts_per_tok: "},
    {"/n_group", 256, "n_group: expected groups of at least 2 of the 256 experts"},
    {"/topk_group", 9, "topk_group: expected an integer from 1 to 8, found 9"},
    {"/topk_method", "sinkhorn", "topk_method: expected greedy, group_limited_greedy or noaux_tc, found 'sinkhorn'"},
    {"/scoring_func", "relu", "scoring_func: expected softmax or sigmoid"},
    {"/norm_topk_prob", 1, "norm_topk_prob: expected true or false, found 1"},
    {"/routed_scaling_factor", -2.5, "routed_scaling_factor: "},
    {"/hidden_act", "gelu", "hidden_act: expected silu, found 'gelu'"},
    {"/attention_bias", true, "attention_bias: expected false"},
    {"/index_topk", 2048, "index_topk: "},
    {"/rms_norm_eps", 0, "rms_norm_eps: "},
    {"/rms_norm_eps", "1e-6", "rms_norm_eps: "},
    {"/rope_theta", 0, "rope_theta: "},
    {"/rope_parameters", json{{"rope_type", "yarn"}}, "rope_scaling: expected nothing beside rope_parameters"},
    {"/rope_scaling/type", "linear", "rope_scaling.type: expected yarn or default, found 'linear'"},
    {"/rope_scaling/type", nullptr, "rope_scaling.type: expected a string, found nothing"},
    {"/rope_scaling/rope_type", "llama3", "rope_scaling.rope_type: "},
    {"/rope_scaling/factor", 0.5, "rope_scaling.factor: "},
    {"/rope_scaling/factor", nullptr, "rope_scaling.factor: "},
    {"/rope_scaling/original_max_position_embeddings", 0, "rope_scaling.original_max_position_embeddings: "},
    {"/rope_scaling/beta_fast", -1, "rope_scaling.beta_fast: "},
    {"/rope_scaling/beta_slow", 64, "rope_scaling.beta_slow: expected at most beta_fast = 32, found 64"},
    {"/rope_scaling/mscale_all_dim", "1", "rope_scaling.mscale_all_dim: "},
    {"/rope_scaling/attention_factor", 1.2, "rope_scaling.attention_factor: "},
    {"/rope_scaling/truncate", false, "rope_scaling.truncate: "},
    {"/partial_rotary_factor", 0.5, "partial_rotary_factor: expected 1, found 0.5"},
    {"/quantization_config/quant_method", "awq", "quant_method: expected fp8 or compressed-tensors, found 'awq'"},
    {"/quantization_config/fmt", "e5m2", "quantization_config.fmt: "},
    {"/quantization_config/activation_scheme", "static", "quantization_config.activation_scheme: "},
    {"/quantization_config/weight_block_size", json::array({64, 128}), "expected [128, 128], found a list"},
    {"/quantization_config/weight_block_size", nullptr, "quantization_config.weight_block_size: "},
    {"/quantization_config/scale_fmt", "e5m3", "quantization_config.scale_fmt: "},
    {"/bos_token_id", 129280, "bos_token_id: expected an integer from 0 to 129279, found 129280"},
    {"/eos_token_id", json::array({1, 129280}), "eos_token_id.1: "},
    {"/eos_token_id", json::array({nullptr}), "eos_token_id.0: "},
    {"/eos_token_id", "</s>", "eos_token_id: "},
    {"/mlp_layer_types", "dense", "mlp_layer_types: expected a list of strings"},
};

TEST(ModelConfig, RefusesEachWrongValueByItsKey) {
  for (const Refusal& refusal : kRefusals) {
    SCOPED_TRACE(refusal.pointer + (": " + refusal.value.dump()));
    const absl::Status status = Load(V3With(refusal.pointer, refusal.value)).status();
    ExpectOneLine(status, refusal.message);
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
  }
}

TEST(ModelConfig, RefusesWrongGenerationDefaults) {
  ExpectOneLine(Load(V3(), json{{"temperature", -1}}).status(), "generation_config.json': temperature: ");
  ExpectOneLine(Load(V3(), json{{"top_p", 1.5}}).status(), "top_p: ");
  ExpectOneLine(Load(V3(), json{{"eos_token_id", -1}}).status(), "eos_token_id: ");
  ExpectOneLine(Load(V3(), json::array()).status(), "expected an object, found a list");
}

TEST(ModelConfig, RefusesFilesThatAreNotOne) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "config.json";
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "config.json': expected a readable file");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "; give the directory of a model as it is published");
  std::filesystem::create_directory(directory.path() / "snapshots");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "it is one of the folders in snapshots/");
  WriteFile(file, "");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "found an empty one");
  WriteFile(file, "{\"model_type\": ");
  ExpectOneLine(LoadModelConfig(directory.path()).status(),
                "expected valid JSON, found 15 bytes that end in the middle of it; fetch the file again");
  WriteFile(file, "{\"model_type\": }");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "expected valid JSON, found an error at byte 16 of it");
  WriteFile(file, R"({"model_type": "llama", "max": Infinity, "min": -Infinity, "none": [NaN]})");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "model_type: ");
  WriteFile(file, R"({"model_type": NaN})");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "model_type: expected a string");
  WriteFile(file, R"({"vocab_size": 1, "vocab_size": 2})");
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "found 'vocab_size' twice");
  WriteFile(file, std::string(2 << 20, ' '));
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "expected at most 1048576 bytes");
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "expected a regular file, found a directory");
  std::filesystem::remove(file);
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  ExpectOneLine(LoadModelConfig(directory.path()).status(), "expected a regular file, found a FIFO");
  ExpectOneLine(LoadModelConfig(directory.path() / "not there").status(), "expected a readable file");
}

}  // namespace
}  // namespace latentd

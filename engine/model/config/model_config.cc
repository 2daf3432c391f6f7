#include "engine/model/config/model_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/json_reader.h"
#include "engine/model/config/rope_config.h"

namespace latentd {
namespace {

// Far above any released model, and low enough that no product of two sizes leaves an int.
constexpr Range<int> kVocabSizes = {2, 1 << 22};
constexpr Range<int> kWidths = {1, 1 << 18};
constexpr Range<int> kLatentWidths = {1, 1 << 14};
constexpr Range<int> kHeadWidths = {1, 1 << 10};
constexpr Range<int> kHeads = {1, 1 << 10};
constexpr Range<int> kLayers = {1, 1 << 12};
constexpr Range<int> kExperts = {0, kMostExperts};
constexpr Range<int> kSharedExperts = {0, 1 << 6};
constexpr Range<int> kMtpLayers = {0, 1 << 4};
constexpr Range<double> kEpsilons = {1e-12, 1e-2};
constexpr Range<double> kScalings = {1e-6, 1e6};

// What a family's configuration class of transformers takes for a key that a file leaves out. vLLM and SGLang read
// config.json through these classes. Sizes are not among them: they are refused by name, since every file says them.
struct Defaults {
  int query_latent_width;  // null in a file: no query compression
  int num_experts;         // null: every layer is dense
  int num_shared_experts;  // null: none
  int num_groups;          // 0: none, which no rule with groups can work with
  int groups_per_token;
  int first_moe_layer;
  double scale;
  double epsilon;
};
constexpr Defaults kV3Defaults = {1536, 256, 1, 8, 4, 3, 2.5, 1e-6};
constexpr Defaults kV2Defaults = {1536, 64, 2, 0, 0, 0, 1.0, 1e-6};
constexpr Defaults kGlmDefaults = {768, 64, 1, 1, 1, 1, 1.8, 1e-5};

// What its files may leave out, and what it is called where one goes by another's rules (docs/spec/deepseek.md 1.1).
struct Family {
  std::string_view model_type;
  std::string_view scoring_func;
  std::string_view topk_method;
  bool norm_topk_prob;
  Defaults defaults;
  bool has_indexer = false;
};
constexpr std::array kFamilies = {
    Family{"deepseek_v3", "sigmoid", "noaux_tc", true, kV3Defaults},
    Family{"deepseek_v32", "sigmoid", "noaux_tc", true, kV3Defaults, true},
    Family{"kimi_k2", "sigmoid", "noaux_tc", true, kV3Defaults},
    Family{"glm4_moe_lite", "sigmoid", "noaux_tc", true, kGlmDefaults},
    Family{"deepseek_v2", "softmax", "greedy", false, kV2Defaults},
};

const Family& ReadFamily(JsonFields& fields, ModelConfig& config) {
  config.model_type = fields.String("model_type");
  const std::vector<std::string> architectures = fields.Strings("architectures");
  config.architecture = architectures.empty() ? config.model_type : architectures.front();
  for (const Family& family : kFamilies) {
    if (family.model_type == config.model_type) return family;
  }
  fields.Refuse("model_type", "a supported architecture (deepseek_v3, deepseek_v2, kimi_k2 or glm4_moe_lite)");
  return kFamilies.front();
}

// transformers reads either name.
std::string OneOf(const JsonFields& fields, const char* name, const char* other) {
  return !fields.Has(name) && fields.Has(other) ? other : name;
}

// An integer that decides the numbers. Left out it is its class's default, which is noted.
int IntOrDefault(JsonFields& fields, ModelConfig& config, const std::string& key, Range<int> range, int of_class) {
  if (fields.Says(key)) return fields.Int(key, range);
  if (of_class < range.least || of_class > range.most) return fields.Int(key, range);  // which refuses it
  config.left_out.push_back(absl::StrFormat("%s = %d", key, of_class));
  return of_class;
}

// The same of what null means that there is none of.
int CountOrDefault(JsonFields& fields, ModelConfig& config, const std::string& key, Range<int> range, int of_class) {
  if (fields.Says(key)) return fields.Int(key, range, 0);
  return IntOrDefault(fields, config, key, range, of_class);
}

void ReadSizes(JsonFields& fields, const Family& family, ModelConfig& config) {
  config.vocab_size = fields.Int("vocab_size", kVocabSizes);
  config.hidden_size = fields.Int("hidden_size", kWidths);
  config.num_layers = fields.Int("num_hidden_layers", kLayers);
  config.num_mtp_layers = fields.Int(OneOf(fields, "num_nextn_predict_layers", "num_mtp_layers"), kMtpLayers, 0);
  config.max_context = fields.Int("max_position_embeddings", kContexts);
  config.epsilon = fields.Number("rms_norm_eps", kEpsilons, family.defaults.epsilon);
  config.tied_embedding = fields.Bool("tie_word_embeddings", false);
}

void ReadAttention(JsonFields& fields, const Family& family, ModelConfig& config) {
  config.query_latent_width =
      CountOrDefault(fields, config, "q_lora_rank", {0, kLatentWidths.most}, family.defaults.query_latent_width);
  config.attention = {.num_heads = fields.Int("num_attention_heads", kHeads),
                      .nope_width = fields.Int("qk_nope_head_dim", kHeadWidths),
                      .rope_width = fields.Int("qk_rope_head_dim", {2, kHeadWidths.most}),
                      .value_width = fields.Int("v_head_dim", kHeadWidths),
                      .latent_width = fields.Int("kv_lora_rank", kLatentWidths)};
  fields.Require(config.attention.rope_width % 2 == 0, "qk_rope_head_dim", "an even number");
  const int heads = config.attention.num_heads;
  fields.Require(fields.Int("num_key_value_heads", kHeads, heads) == heads, "num_key_value_heads",
                 absl::StrFormat("num_attention_heads = %d, as in every model with latent attention", heads));
  fields.Require(!fields.Bool("attention_bias", false), "attention_bias", "false, biases are not supported");
}

void ReadIndexer(JsonFields& fields, const Family& family, ModelConfig& config) {
  if (!family.has_indexer) {
    fields.Require(!fields.Has("index_topk"), "index_topk", "dense attention, as in every model of this model_type");
    return;
  }
  config.indexer = {.num_heads = fields.Int("index_n_heads", kHeads),
                    .head_width = fields.Int("index_head_dim", kHeadWidths),
                    .selected_tokens = fields.Int("index_topk", kContexts)};
  fields.Require(config.query_latent_width > 0, "q_lora_rank", "query compression, which the indexer reads from");
  fields.Require(config.indexer.head_width >= config.attention.rope_width, "index_head_dim",
                 absl::StrFormat("at least qk_rope_head_dim = %d", config.attention.rope_width));
}

ExpertScore ReadScore(JsonFields& fields, const Family& family) {
  const std::string name = fields.String("scoring_func", std::string(family.scoring_func));
  fields.Require(name == "softmax" || name == "sigmoid", "scoring_func", "softmax or sigmoid");
  return name == "softmax" ? ExpertScore::kSoftmax : ExpertScore::kSigmoid;
}

// The groups, and how the best of them are found.
void ReadGroups(JsonFields& fields, const Family& family, ModelConfig& config) {
  RoutingRule& rule = config.routing;
  const std::string method = fields.String("topk_method", std::string(family.topk_method));
  fields.Require(method == "greedy" || method == "group_limited_greedy" || method == "noaux_tc", "topk_method",
                 "greedy, group_limited_greedy or noaux_tc");
  config.has_routing_bias = method == "noaux_tc";
  rule.group_score = config.has_routing_bias ? GroupScore::kTopTwoSum : GroupScore::kMax;
  if (method == "greedy") {
    // What it says of groups is not looked at.
    rule.num_groups = fields.Int("n_group", {1, rule.num_experts}, 1);
    fields.Int("topk_group", {1, rule.num_groups}, 1);
    rule.num_groups = rule.groups_per_token = 1;
    return;
  }
  rule.num_groups = IntOrDefault(fields, config, "n_group", {1, rule.num_experts}, family.defaults.num_groups);
  // A single group leaves no choice.
  rule.groups_per_token = rule.num_groups == 1 ? fields.Int("topk_group", {1, 1}, 1)
                                               : IntOrDefault(fields, config, "topk_group", {1, rule.num_groups},
                                                              family.defaults.groups_per_token);
  const int group_size = rule.num_experts / rule.num_groups;
  fields.Require(group_size * rule.num_groups == rule.num_experts, "n_group",
                 absl::StrFormat("a divisor of n_routed_experts = %d", rule.num_experts));
  fields.Require(rule.num_groups == 1 || group_size >= 2 || !config.has_routing_bias, "n_group",
                 absl::StrFormat("groups of at least 2 of the %d experts", rule.num_experts));
}

// Files written by transformers 5 may list each layer's kind in place of first_k_dense_replace.
int ReadFirstMoeLayer(JsonFields& fields, const Family& family, ModelConfig& config) {
  const std::string key = "first_k_dense_replace";
  const Range<int> layers = {0, kLayers.most};
  const std::vector<std::string> kinds = fields.Strings("mlp_layer_types");
  if (kinds.empty()) return IntOrDefault(fields, config, key, layers, family.defaults.first_moe_layer);
  return fields.Int(key, layers, static_cast<int>(std::find(kinds.begin(), kinds.end(), "sparse") - kinds.begin()));
}

double ReadScale(JsonFields& fields, const Family& family, ModelConfig& config) {
  const std::string key = "routed_scaling_factor";
  if (fields.Says(key)) return fields.Number(key, kScalings);
  config.left_out.push_back(absl::StrCat(key, " = ", family.defaults.scale));
  return family.defaults.scale;
}

void ReadExperts(JsonFields& fields, const Family& family, ModelConfig& config) {
  RoutingRule& rule = config.routing;
  rule.num_experts = CountOrDefault(fields, config, OneOf(fields, "n_routed_experts", "num_local_experts"), kExperts,
                                    family.defaults.num_experts);
  config.moe_layer_period = fields.Int("moe_layer_freq", {1, kLayers.most}, 1);
  if (rule.num_experts == 0) {
    fields.Int("first_k_dense_replace", {0, kLayers.most}, 0);
    return;
  }
  config.first_moe_layer = ReadFirstMoeLayer(fields, family, config);

  ReadGroups(fields, family, config);
  rule.score = ReadScore(fields, family);
  const int candidates = rule.num_experts / rule.num_groups * rule.groups_per_token;
  rule.experts_per_token = fields.Int("num_experts_per_tok", {1, std::min(candidates, kMostExpertsPerToken)});
  rule.normalize = fields.Bool("norm_topk_prob", family.norm_topk_prob);
  rule.scale = static_cast<float>(ReadScale(fields, family, config));
  config.expert_width = fields.Int("moe_intermediate_size", kWidths);
  config.shared_expert_width = config.expert_width * CountOrDefault(fields, config, "n_shared_experts", kSharedExperts,
                                                                    family.defaults.num_shared_experts);
}

// A list that contradicts the rule would load the wrong tensors.
void CheckLayerKinds(JsonFields& fields, const ModelConfig& config) {
  const std::vector<std::string> kinds = fields.Strings("mlp_layer_types");
  for (int layer = 0; layer < static_cast<int>(kinds.size()); ++layer) {
    const std::string_view expected = config.IsMoe(layer) ? "sparse" : "dense";
    fields.Require(kinds[static_cast<size_t>(layer)] == expected, absl::StrCat("mlp_layer_types.", layer),
                   absl::StrFormat("%s, as first_k_dense_replace and moe_layer_freq say", expected));
  }
}

void ReadFeedForward(JsonFields& fields, const Family& family, ModelConfig& config) {
  config.dense_width = fields.Int("intermediate_size", kWidths);
  const std::string activation = fields.String("hidden_act", "silu");
  fields.Require(activation == "silu", "hidden_act", "silu");
  ReadExperts(fields, family, config);
  CheckLayerKinds(fields, config);
}

void ReadFp8(JsonFields& fields, const std::string& at, ModelConfig& config) {
  fields.Require(fields.String(at + "fmt", "e4m3") == "e4m3", at + "fmt", "e4m3");
  fields.Require(fields.String(at + "activation_scheme", "dynamic") == "dynamic", at + "activation_scheme", "dynamic");
  fields.Require(fields.Ints(at + "weight_block_size", {1, 1 << 20}) == std::vector{128, 128}, at + "weight_block_size",
                 "[128, 128]");
  const std::string scales = fields.String(at + "scale_fmt", "");
  fields.Require(scales.empty() || scales == "ue8m0", at + "scale_fmt", "ue8m0 or nothing");
  config.quantization.declared_fp8 = true;
  config.quantization.power_of_two_scales = scales == "ue8m0";
}

void RequireInt(JsonFields& fields, const std::string& key, int expected) {
  fields.Require(fields.Int(key, {-1, 1 << 20}) == expected, key, absl::StrCat(expected));
}

// One scheme of weights: INT4 in groups of 32 without zero points, the inputs of a group side by side.
void ReadInt4Scheme(JsonFields& fields, const std::string& at) {
  const std::string weights = at + "weights.";
  const std::string format = fields.String(at + "format", "pack-quantized");
  fields.Require(format == "pack-quantized", at + "format", "pack-quantized");
  RequireInt(fields, weights + "num_bits", 4);
  fields.Require(fields.String(weights + "type", "int") == "int", weights + "type", "int");
  RequireInt(fields, weights + "group_size", kInt4Group);
  fields.Require(fields.String(weights + "strategy", "group") == "group", weights + "strategy", "group");
  fields.Require(fields.Bool(weights + "symmetric", true), weights + "symmetric", "true, without zero points");
  fields.Require(!fields.Bool(weights + "dynamic", false), weights + "dynamic", "false");
  const std::string order = fields.String(weights + "actorder", "static");
  fields.Require(order == "static" || order == "weight", weights + "actorder",
                 "static or null: the inputs of a group side by side");
  for (const char* key : {"input_activations", "output_activations"}) {
    fields.Require(!fields.Has(at + key), at + key, "null: only weights are quantised");
  }
}

// Which weights are packed is said by `targets` and `ignore`; the tensors say it, too, and decide.
void ReadInt4(JsonFields& fields, const std::string& at, ModelConfig& config) {
  const std::string format = fields.String(at + "format");
  fields.Require(format == "pack-quantized", at + "format", "pack-quantized");
  const std::string groups = at + "config_groups";
  fields.Require(!fields.Members(groups).empty(), groups, "an object with a scheme");
  for (const std::string& group : fields.Members(groups)) ReadInt4Scheme(fields, absl::StrCat(groups, ".", group, "."));
  fields.Require(!fields.Has(at + "kv_cache_scheme"), at + "kv_cache_scheme", "null: the cache has a type of its own");
  const std::string sparsity = at + "sparsity_config";
  fields.Require(fields.Members(sparsity).empty() || fields.String(sparsity + ".format") == "dense", sparsity,
                 "null or the format dense");
  fields.Require(fields.Members(at + "transform_config").empty(), at + "transform_config", "null or {}");
  config.quantization.declared_int4 = true;
}

void ReadQuantization(JsonFields& fields, ModelConfig& config) {
  const std::string key = "quantization_config";
  if (!fields.Has(key)) return;
  const std::string at = key + ".";
  const std::string method = fields.String(at + "quant_method");
  if (method == "compressed-tensors") return ReadInt4(fields, at, config);
  fields.Require(method == "fp8", at + "quant_method", "fp8 or compressed-tensors");
  ReadFp8(fields, at, config);
}

// vLLM and SGLang stop at whatever any of the files names.
void AddEosIds(const std::vector<int32_t>& ids, ModelConfig& config) {
  for (const int32_t id : ids) {
    if (std::find(config.eos_ids.begin(), config.eos_ids.end(), id) == config.eos_ids.end()) {
      config.eos_ids.push_back(id);
    }
  }
}

// Its ids come before config.json's; without the file nothing changes.
absl::Status ReadGeneration(const std::filesystem::path& directory, const GenerationSource& source,
                            ModelConfig& config) {
  const std::filesystem::path file = source.file.empty() ? directory / "generation_config.json" : source.file;
  absl::StatusOr<GenerationConfig> generation = ReadGenerationConfig(file, config.vocab_size, source.part);
  if (absl::IsNotFound(generation.status()) && source.file.empty()) return absl::OkStatus();
  if (!generation.ok()) return generation.status();
  if (generation->bos_id) config.bos_id = generation->bos_id;
  const std::vector<int32_t> of_config_json = std::exchange(config.eos_ids, {});
  AddEosIds(generation->eos_ids, config);
  AddEosIds(of_config_json, config);
  config.generation = std::move(generation->defaults);
  if (!config.generation.left_aside.empty()) {
    config.warnings.push_back(absl::StrFormat("%s: nothing here does what these ask for, they are left aside: %s",
                                              file.filename().string(),
                                              absl::StrJoin(config.generation.left_aside, ", ")));
  }
  return absl::OkStatus();
}

// Paths that people give in place of a model's directory.
absl::Status WithAdvice(const absl::Status& absent, const std::filesystem::path& directory) {
  const auto has = [&](const char* name) {
    std::error_code error;
    return std::filesystem::exists(directory / name, error);
  };
  const char* advice = has("snapshots")     ? "in a cache of Hugging Face's it is one of the folders in snapshots/"
                       : has("params.json") ? "fetch the files with Hugging Face's names, too"
                                            : "give the directory of a model as it is published";
  return absl::Status(absent.code(), absl::StrCat(absent.message(), "; ", advice));
}

}  // namespace

absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& directory,
                                            const GenerationSource& generation) {
  const std::filesystem::path file = directory / "config.json";
  absl::StatusOr<JsonFields> fields = JsonFields::Read(file);
  if (absl::IsNotFound(fields.status())) return WithAdvice(fields.status(), directory);
  if (!fields.ok()) return fields.status();
  ModelConfig config;
  config.digest = fields->digest();
  const Family& family = ReadFamily(*fields, config);
  ReadSizes(*fields, family, config);
  ReadAttention(*fields, family, config);
  ReadIndexer(*fields, family, config);
  ReadFeedForward(*fields, family, config);
  config.rope = ReadRope(*fields, config.max_context, config.warnings);
  ReadQuantization(*fields, config);
  const Range<int> ids = {0, config.vocab_size - 1};
  if (fields->Has("bos_token_id")) config.bos_id = fields->Int("bos_token_id", ids);
  AddEosIds(fields->Ints("eos_token_id", ids), config);
  if (!fields->status().ok()) return fields->status();
  if (!config.left_out.empty()) {
    config.warnings.push_back(absl::StrFormat(
        "config.json leaves out what decides the numbers: %s is taken, as by the class that transformers has for %s; "
        "write down which is meant",
        absl::StrJoin(config.left_out, ", "), config.model_type));
  }

  if (absl::Status status = ReadGeneration(directory, generation, config); !status.ok()) return status;
  config.softmax_scale = SoftmaxScale(config.attention, config.rope);
  return config;
}

}  // namespace latentd

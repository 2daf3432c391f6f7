#include "tests/support/tiny_variants.h"

namespace latentd {
namespace {

// Each as its family publishes it: deepseek_v2 …
const TinyVariant kV2Lite = {"v2_lite",
                             {.model_type = "deepseek_v2",
                              .num_mtp_layers = 0,
                              .query_latent_width = 0,
                              .num_experts = 11,
                              .num_shared_experts = 2,
                              .experts_per_token = 4,
                              .num_groups = 1,
                              .groups_per_token = 1,
                              .config_patch = R"({
  "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": false, "routed_scaling_factor": 1.0,
  "num_nextn_predict_layers": null, "rope_scaling": {"mscale": 0.707, "mscale_all_dim": 0.707}})"}};
const TinyVariant kV2 = {"v2",
                         {.model_type = "deepseek_v2",
                          .num_mtp_layers = 0,
                          .num_experts = 12,
                          .num_shared_experts = 2,
                          .experts_per_token = 4,
                          .num_groups = 4,
                          .groups_per_token = 2,
                          .num_shards = 3,
                          .config_patch = R"({
  "topk_method": "group_limited_greedy", "scoring_func": "softmax", "norm_topk_prob": false,
  "routed_scaling_factor": 16.0, "num_nextn_predict_layers": null,
  "rope_scaling": {"mscale": 0.707, "mscale_all_dim": 0.707}})"}};

// … deepseek_v3 …
constexpr char kV3Patch[] = R"({"topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true})";
const TinyVariant kV3 = {"v3", {.projections = DType::kE4M3, .num_shards = 3, .config_patch = kV3Patch}};
const TinyVariant kV31 = {"v31", {.projections = DType::kE4M3, .power_of_two_scales = true, .config_patch = kV3Patch}};
const TinyVariant kV31WithE8M0Scales = {
    "v31_e8m0", {.projections = DType::kE4M3, .scales = DType::kE8M0, .num_shards = 2, .config_patch = kV3Patch}};
const TinyVariant kV3InBf16 = {"v3_bf16", {.config_patch = kV3Patch}};
const TinyVariant kMoonlight = {"moonlight",
                                {.num_mtp_layers = 0,
                                 .query_latent_width = 0,
                                 .num_shared_experts = 2,
                                 .num_groups = 1,
                                 .groups_per_token = 1,
                                 .yarn_factor = 1.0,
                                 .routing_bias = DType::kBf16,
                                 .config_patch = R"({
  "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.446,
  "rms_norm_eps": 1e-5, "rope_theta": 50000.0})"}};

// … its relatives …
const TinyVariant kK2 = {"k2",
                         {.model_type = "kimi_k2",
                          .num_mtp_layers = 0,
                          .num_experts = 11,
                          .experts_per_token = 5,
                          .num_groups = 1,
                          .groups_per_token = 1,
                          .yarn_factor = 32.0,
                          .projections = DType::kE4M3,
                          .num_shards = 2,
                          .config_patch = R"({
  "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.827,
  "rope_theta": 50000.0, "rope_scaling": {"beta_fast": 1.0, "beta_slow": 1.0}})"}};
// Kimi-K2-Thinking's experts, which have two groups and an edge.
const TinyVariant kK2Thinking = {"k2_thinking",
                                 {.model_type = "kimi_k2",
                                  .num_mtp_layers = 0,
                                  .expert_width = 75,
                                  .num_experts = 11,
                                  .experts_per_token = 5,
                                  .num_groups = 1,
                                  .groups_per_token = 1,
                                  .yarn_factor = 64.0,
                                  .projections = DType::kInt4,
                                  .only_experts_int4 = true,
                                  .num_shards = 2,
                                  .config_patch = R"({
  "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.827,
  "rope_theta": 50000.0, "rope_scaling": {"beta_fast": 1.0, "beta_slow": 1.0}})"}};
const TinyVariant kGlmFlash = {
    "glm4_moe_lite",
    {.model_type = "glm4_moe_lite",
     .attention = {.num_heads = 5, .nope_width = 19, .rope_width = 12, .value_width = 31, .latent_width = 44},
     .num_experts = 14,
     .experts_per_token = 4,
     .num_groups = 1,
     .groups_per_token = 1,
     .yarn_factor = 1.0,
     .has_mtp_copies = false,
     .config_patch = R"({
  "topk_method": "noaux_tc", "norm_topk_prob": true, "routed_scaling_factor": 1.8, "rms_norm_eps": 1e-5,
  "dtype": "bfloat16", "eos_token_id": [1, 3, 5], "bos_token_id": null, "rope_theta": null, "rope_scaling": null,
  "rope_parameters": {"rope_type": "default", "rope_theta": 1000000, "partial_rotary_factor": 1.0},
  "first_k_dense_replace": null, "mlp_layer_types": ["dense", "sparse", "sparse"]})"}};
const TinyVariant kTiedF32 = {
    "fp32_tied", {.num_mtp_layers = 0, .tied_embedding = true, .projections = DType::kF32, .others = DType::kF32}};

// … and what their keys allow beyond any release.
const TinyVariant kMixedDTypes = {"mixed_dtypes",
                                  {.projections = DType::kE4M3, .mixed_projections = true, .num_shards = 4}};
const TinyVariant kInt4Projections = {"int4_projections", {.projections = DType::kInt4, .num_shards = 3}};
const TinyVariant kBf16Scales = {
    "bf16_scales_plain_query",
    {.num_mtp_layers = 2, .query_latent_width = 0, .projections = DType::kE4M3, .scales = DType::kBf16}};
const TinyVariant kHalfSplitRope = {"half_split_rope", {.config_patch = R"({"rope_interleave": false})"}};
const TinyVariant kEverySecondLayer = {
    "every_second_layer_moe",
    {.num_layers = 4, .num_dense_layers = 0, .num_mtp_layers = 0, .config_patch = R"({"moe_layer_freq": 2})"}};
const TinyVariant kMoeFromTheFirstLayer = {"moe_from_the_first_layer", {.num_layers = 2, .num_dense_layers = 0}};
const TinyVariant kAllDense = {"all_dense", {.num_mtp_layers = 0, .config_patch = R"({
  "n_routed_experts": 0, "n_shared_experts": null, "num_experts_per_tok": null, "moe_intermediate_size": null,
  "n_group": null, "topk_group": null, "routed_scaling_factor": null, "first_k_dense_replace": null})"}};
const TinyVariant kNoSharedExpert = {
    "no_shared_expert", {.num_shared_experts = 0, .num_groups = 1, .config_patch = R"({"topk_group": null})"}};
const TinyVariant kOneExpertPerToken = {"one_expert_per_token", {.experts_per_token = 1}};
const TinyVariant kSoftmaxWithBias = {
    "softmax_with_bias_and_groups",
    {.config_patch = R"({"topk_method": "noaux_tc", "scoring_func": "softmax", "norm_topk_prob": true})"}};
const TinyVariant kNegativeScores = {"negative_selection_scores", {.routing_bias_mean = -3.0f}};
const TinyVariant kGreedySigmoid = {"greedy_sigmoid",
                                    {.config_patch = R"({"topk_method": "greedy", "scoring_func": "sigmoid"})"}};
// Its cosines and sines are multiplied with m(0.7) / m(1.3), …
const TinyVariant kTwoMscales = {"two_mscales",
                                 {.config_patch = R"({"rope_scaling": {"mscale": 0.7, "mscale_all_dim": 1.3}})"}};
// … and here with m(1), the logits with nothing.
const TinyVariant kNoMscales = {"no_mscales",
                                {.config_patch = R"({"rope_scaling": {"mscale": null, "mscale_all_dim": 0}})"}};
const TinyVariant kOddSizes = {
    "odd_sizes",
    {.vocab_size = 97,
     .hidden_size = 67,
     .attention = {.num_heads = 1, .nope_width = 9, .rope_width = 2, .value_width = 21, .latent_width = 37},
     .query_latent_width = 1,
     .dense_width = 1,
     .expert_width = 3,
     .projections = DType::kE4M3}};

}  // namespace

const std::vector<TinyVariant>& TinyVariants() {
  static const std::vector<TinyVariant> variants = {kV2Lite,
                                                    kV2,
                                                    kV3,
                                                    kV31,
                                                    kV31WithE8M0Scales,
                                                    kV3InBf16,
                                                    kMoonlight,
                                                    kK2,
                                                    kK2Thinking,
                                                    kGlmFlash,
                                                    kTiedF32,
                                                    kMixedDTypes,
                                                    kInt4Projections,
                                                    kBf16Scales,
                                                    kHalfSplitRope,
                                                    kEverySecondLayer,
                                                    kMoeFromTheFirstLayer,
                                                    kAllDense,
                                                    kNoSharedExpert,
                                                    kOneExpertPerToken,
                                                    kSoftmaxWithBias,
                                                    kNegativeScores,
                                                    kGreedySigmoid,
                                                    kTwoMscales,
                                                    kNoMscales,
                                                    kOddSizes};
  return variants;
}

}  // namespace latentd

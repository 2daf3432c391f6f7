// A checkpoint's config.json and generation_config.json, checked and turned into facts: the paper's sizes and
// the switches that tell one family from another. Plain data, immutable once loaded; the forward pass asks no names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/config/generation_config.h"
#include "engine/model/config/rope.h"
#include "kernels/tensor.h"

namespace latentd {

// How the checkpoint says it is quantised. Each tensor's own dtype decides; this is for reports and activations.
struct QuantizationFacts {
  bool declared_fp8 = false;
  bool declared_int4 = false;        // compressed-tensors' pack-quantized, groups of 32
  bool power_of_two_scales = false;  // scale_fmt "ue8m0"
};

// V3.2's choice of the positions that a query attends to (docs/spec/deepseek.md 7.1). Its tensors are read and checked;
// nothing computes it yet.
struct IndexerShape {
  int num_heads = 0;
  int head_width = 0;
  int selected_tokens = 0;  // 0: every query attends to all positions
};

struct ModelConfig {
  std::string model_type;    // such as "deepseek_v3"
  std::string architecture;  // such as "DeepseekV3ForCausalLM"; model_type where the file names none
  uint64_t digest = 0;       // of config.json's bytes

  int vocab_size = 0;
  int hidden_size = 0;         // d
  int num_layers = 0;          // L
  int num_mtp_layers = 0;      // D, at layer indices L … L + D - 1
  int max_context = 0;         // in tokens, YaRN's factor included
  int query_latent_width = 0;  // r_q; 0: no query compression, a plain q_proj
  AttentionShape attention;    // H, d_n, d_r, d_v, r
  IndexerShape indexer;        // of sparse attention

  int dense_width = 0;          // SwiGLU width of dense layers
  int expert_width = 0;         // of one routed expert
  int shared_expert_width = 0;  // of all shared experts as one MLP; 0: none
  int first_moe_layer = 0;
  int moe_layer_period = 1;
  RoutingRule routing;            // num_experts = 0: every layer is dense
  bool has_routing_bias = false;  // e_score_correction_bias

  double epsilon = 1e-6;         // of the input, post-attention, final and MTP norms
  double latent_epsilon = 1e-6;  // of q_a_layernorm and kv_a_layernorm (docs/spec/deepseek.md 3.2)
  RopeFacts rope;
  double softmax_scale = 0.0;  // σ, YaRN's mscale² included

  bool tied_embedding = false;  // lm_head is the embedding
  QuantizationFacts quantization;

  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;  // of both files, each once; empty: what ends a text is in the tokenizer's files
  GenerationDefaults generation;
  std::vector<std::string> left_out;  // "n_group = 8": keys that decide the numbers, and the defaults that they got
  std::vector<std::string> warnings;  // one line each

  bool IsMoe(int layer) const {
    return routing.num_experts > 0 && layer >= first_moe_layer && layer % moe_layer_period == 0;
  }
};

// `directory` holds config.json and perhaps generation_config.json. Errors name the file, the key, what was expected
// and what was found, on one line.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& directory,
                                            const GenerationSource& generation = {});

}  // namespace latentd

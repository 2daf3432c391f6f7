// Small random checkpoints in the published format: complete by construction, sized oddly on purpose (nothing is a
// multiple of 128), weights scaled so that activations stay around one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"
#include "tests/support/safetensors_writer.h"

namespace latentd {

struct TinyCheckpoint {
  std::string model_type = "deepseek_v3";
  uint64_t seed = 1;

  int vocab_size = 331;
  int hidden_size = 136;
  int max_context = 2048;
  int num_layers = 3;
  int num_dense_layers = 1;
  int num_mtp_layers = 1;
  AttentionShape attention = {
      .num_heads = 4, .nope_width = 24, .rope_width = 16, .value_width = 20, .latent_width = 40};
  int query_latent_width = 56;  // 0: a plain q_proj
  int dense_width = 200;
  int expert_width = 44;
  int num_experts = 8;
  int num_shared_experts = 1;
  int experts_per_token = 3;
  int num_groups = 4;
  int groups_per_token = 2;

  double yarn_factor = 4.0;     // original context: max_context / yarn_factor; 1: no rope_scaling
  bool tied_embedding = false;  // no lm_head
  bool has_mtp_copies = true;   // of embedding and head

  DType projections = DType::kBf16;  // kBf16, kF32, kE4M3 with scales, or kInt4 but for kv_b
  DType others = DType::kBf16;       // kBf16 or kF32: norms, router, embedding and head
  DType scales = DType::kF32;        // kF32, kBf16 or kE8M0
  bool power_of_two_scales = false;  // scale_fmt ue8m0; always so for kE8M0
  bool mixed_projections = false;    // of FP8 projections every second one stays bf16 or fp32
  bool only_experts_int4 = false;    // as Kimi-K2-Thinking is published: other projections stay bf16
  DType routing_bias = DType::kF32;  // kF32 or kBf16
  float routing_bias_mean = 0.0f;    // far below 0: every selection score is negative
  int num_shards = 1;
  std::string config_patch = "{}";  // RFC 7386: what the family writes otherwise; null takes a key away
};

// A checkpoint that is not yet written, for tests that damage it first.
struct CheckpointDraft {
  std::string config_json;
  std::vector<StoredTensor> tensors;
  int num_shards = 1;

  StoredTensor& Find(std::string_view name);
  void Remove(std::string_view name);
  // Replaces the first `from` in config.json, which must occur.
  void Reconfigure(std::string_view from, std::string_view to);
  void Write(const std::filesystem::path& directory) const;
};

CheckpointDraft DraftTinyCheckpoint(const TinyCheckpoint& options);
void WriteTinyCheckpoint(const TinyCheckpoint& options, const std::filesystem::path& directory);

}  // namespace latentd

#include "engine/model/weights.h"

#include <optional>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace latentd {
namespace {

// Packs tensors by name and remembers the first thing that went wrong, so that the loading below reads as a list.
class Packer {
 public:
  Packer(const Checkpoint& checkpoint, Device& device, Ops& ops)
      : checkpoint_(checkpoint), device_(device), ops_(ops) {}

  MatrixPointer Linear(const std::string& name) { return Keep(name, ops_.PackLinear(checkpoint_.Matrix(name))); }
  MatrixPointer Table(const std::string& name) { return Keep(name, ops_.PackTable(checkpoint_.Matrix(name))); }
  MatrixPointer KeyValueUp(const std::string& name, const AttentionShape& shape) {
    return Keep(name, ops_.PackKeyValueUp(checkpoint_.Matrix(name), shape));
  }
  // The experts of the layer at `at`, the shared one included where the model has one.
  std::unique_ptr<const Experts> AllExperts(const std::string& at, const ModelConfig& config) {
    std::vector<ExpertSource> routed;
    for (int expert = 0; expert < config.routing.num_experts; ++expert) {
      routed.push_back(Source(absl::StrCat(at, "experts.", expert, ".")));
    }
    std::optional<ExpertSource> shared;
    if (config.shared_expert_width > 0) shared = Source(at + "shared_experts.");
    return Keep(at + "experts", ops_.PackExperts(routed, shared ? &*shared : nullptr));
  }
  DeviceVector Vector(const std::string& name) {
    const std::vector<float> values = checkpoint_.Vector(name);
    absl::StatusOr<DeviceBuffer> memory = device_.Allocate(values.size() * sizeof(float));
    if (!memory.ok()) {
      Remember(name, memory.status());
      return {};
    }
    device_.Upload(values.data(), memory->bytes(), memory->As<float>());
    return {std::move(*memory)};
  }

  const absl::Status& status() const { return status_; }

 private:
  ExpertSource Source(const std::string& at) const {
    return {.gate = checkpoint_.Matrix(at + "gate_proj.weight"),
            .up = checkpoint_.Matrix(at + "up_proj.weight"),
            .down = checkpoint_.Matrix(at + "down_proj.weight")};
  }
  template <class Pointer>
  Pointer Keep(const std::string& name, absl::StatusOr<Pointer> packed) {
    if (packed.ok()) return std::move(*packed);
    Remember(name, packed.status());
    return nullptr;
  }
  void Remember(const std::string& name, const absl::Status& status) {
    if (status_.ok()) status_ = absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
  }

  const Checkpoint& checkpoint_;
  Device& device_;
  Ops& ops_;
  absl::Status status_;
};

DenseMlp LoadMlp(Packer& packer, const std::string& at) {
  return {.gate = packer.Linear(at + "gate_proj.weight"),
          .up = packer.Linear(at + "up_proj.weight"),
          .down = packer.Linear(at + "down_proj.weight")};
}

AttentionWeights LoadAttention(Packer& packer, const std::string& at, const ModelConfig& config) {
  AttentionWeights weights;
  if (config.query_latent_width > 0) {
    weights.q_down = packer.Linear(at + "q_a_proj.weight");
    weights.q_norm = packer.Vector(at + "q_a_layernorm.weight");
    weights.q_up = packer.Linear(at + "q_b_proj.weight");
  } else {
    weights.q_up = packer.Linear(at + "q_proj.weight");
  }
  weights.kv_down = packer.Linear(at + "kv_a_proj_with_mqa.weight");
  weights.kv_norm = packer.Vector(at + "kv_a_layernorm.weight");
  weights.kv_up = packer.KeyValueUp(at + "kv_b_proj.weight", config.attention);
  weights.out = packer.Linear(at + "o_proj.weight");
  return weights;
}

void LoadExperts(Packer& packer, const std::string& at, const ModelConfig& config, LayerWeights& layer) {
  layer.router = packer.Linear(at + "gate.weight");
  if (config.has_routing_bias) layer.routing_bias = packer.Vector(at + "gate.e_score_correction_bias");
  layer.experts = packer.AllExperts(at, config);
}

LayerWeights LoadLayer(Packer& packer, int index, const ModelConfig& config) {
  const std::string at = absl::StrCat("model.layers.", index, ".");
  LayerWeights layer;
  layer.attention_norm = packer.Vector(at + "input_layernorm.weight");
  layer.attention = LoadAttention(packer, at + "self_attn.", config);
  layer.feed_forward_norm = packer.Vector(at + "post_attention_layernorm.weight");
  if (config.IsMoe(index)) {
    LoadExperts(packer, at + "mlp.", config, layer);
  } else {
    layer.dense = LoadMlp(packer, at + "mlp.");
  }
  return layer;
}

}  // namespace

absl::Status CheckComputable(const ModelConfig& config) {
  if (config.indexer.selected_tokens == 0) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrFormat("%s: expected attention to all positions, found sparse attention (index_topk = %d), which is not "
                      "implemented yet; serve a model without it",
                      config.model_type, config.indexer.selected_tokens));
}

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelConfig& config, Device& device, Ops& ops) {
  if (absl::Status status = CheckComputable(config); !status.ok()) return status;
  Packer packer(checkpoint, device, ops);
  Weights weights;
  weights.embedding = packer.Table("model.embed_tokens.weight");
  for (int layer = 0; layer < config.num_layers && packer.status().ok() && checkpoint.ReadStatus().ok(); ++layer) {
    weights.layers.push_back(LoadLayer(packer, layer, config));
  }
  weights.final_norm = packer.Vector("model.norm.weight");
  weights.head = packer.Linear(config.tied_embedding ? "model.embed_tokens.weight" : "lm_head.weight");
  if (!packer.status().ok()) return packer.status();
  if (absl::Status status = checkpoint.ReadStatus(); !status.ok()) return status;
  return weights;
}

}  // namespace latentd

#include "engine/model/weights.h"

#include <optional>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_names.h"

namespace latentd {
namespace {

using namespace tensor_names;

// Packs tensors by name and remembers the first thing that went wrong, so that the loading below reads as a list.
class Packer {
 public:
  Packer(const Checkpoint& checkpoint, Device& device, Ops& ops)
      : checkpoint_(checkpoint), device_(device), ops_(ops) {}

  MatrixPointer Linear(const std::string& name) { return Keep(name, ops_.PackLinear(Take(name))); }
  MatrixPointer Router(const std::string& name) {
    MatrixSource source = Take(name);
    source.keeps_inputs = true;
    return Keep(name, ops_.PackLinear(source));
  }
  MatrixPointer Table(const std::string& name) { return Keep(name, ops_.PackTable(Take(name))); }
  MatrixPointer KeyValueUp(const std::string& name, const AttentionShape& shape) {
    return Keep(name, ops_.PackKeyValueUp(Take(name), shape));
  }
  // The experts of the layer at `at`, the shared one included where the model has one.
  std::unique_ptr<const Experts> AllExperts(const std::string& at, const ModelConfig& config) {
    std::vector<ExpertSource> routed;
    for (int expert = 0; expert < config.routing.num_experts; ++expert) {
      routed.push_back(Source(at + ExpertPrefix(expert)));
    }
    std::optional<ExpertSource> shared;
    if (config.shared_expert_width > 0) shared = Source(at + kSharedExperts);
    return Keep(at + "experts", ops_.PackExperts(routed, shared ? &*shared : nullptr));
  }
  DeviceVector Vector(const std::string& name) {
    taken_.insert(name);
    const std::vector<float> values = checkpoint_.Vector(name);
    absl::StatusOr<DeviceBuffer> memory = device_.Allocate(values.size() * sizeof(float));
    if (!memory.ok()) {
      Remember(name, memory.status());
      return {};
    }
    device_.Upload(values.data(), memory->bytes(), memory->As<float>());
    return {std::move(*memory)};
  }

  // Whether a copy is there that is none: it has values of its own.
  bool Differs(const std::string& copy, const char* original) {
    if (!checkpoint_.Has(copy)) return false;
    if (!checkpoint_.HaveSameBytes(copy, original)) return true;
    taken_.insert(copy);
    return false;
  }

  // What went wrong so far.
  absl::Status status() const { return status_.ok() ? checkpoint_.ReadStatus() : status_; }
  const TensorNames& taken() const { return taken_; }

 private:
  MatrixSource Take(const std::string& name) {
    taken_.insert(name);
    return checkpoint_.Matrix(name);
  }
  ExpertSource Source(const std::string& at) {
    return {.gate = Take(at + kGate), .up = Take(at + kUp), .down = Take(at + kDown)};
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
  TensorNames taken_;
  absl::Status status_;
};

DenseMlp LoadMlp(Packer& packer, const std::string& at) {
  return {.gate = packer.Linear(at + kGate), .up = packer.Linear(at + kUp), .down = packer.Linear(at + kDown)};
}

AttentionWeights LoadAttention(Packer& packer, const std::string& at, const ModelConfig& config) {
  AttentionWeights weights;
  if (config.query_latent_width > 0) {
    weights.q_down = packer.Linear(at + kQueryDown);
    weights.q_norm = packer.Vector(at + kQueryNorm);
    weights.q_up = packer.Linear(at + kQueryUp);
  } else {
    weights.q_up = packer.Linear(at + kQuery);
  }
  weights.kv_down = packer.Linear(at + kKeyValueDown);
  weights.kv_norm = packer.Vector(at + kKeyValueNorm);
  weights.kv_up = packer.KeyValueUp(at + kKeyValueUp, config.attention);
  weights.out = packer.Linear(at + kOut);
  return weights;
}

void LoadExperts(Packer& packer, const std::string& at, const ModelConfig& config, LayerWeights& layer) {
  layer.router = packer.Router(at + kRouter);
  if (config.has_routing_bias) layer.routing_bias = packer.Vector(at + kRoutingBias);
  layer.experts = packer.AllExperts(at, config);
}

const char* HeadName(const ModelConfig& config) { return config.tied_embedding ? kEmbedding : kHead; }

LayerWeights LoadLayer(Packer& packer, int index, const ModelConfig& config) {
  const std::string at = LayerPrefix(index);
  LayerWeights layer;
  layer.attention_norm = packer.Vector(at + kAttentionNorm);
  layer.attention = LoadAttention(packer, at + kAttention, config);
  layer.feed_forward_norm = packer.Vector(at + kFeedForwardNorm);
  if (config.IsMoe(index)) {
    LoadExperts(packer, at + kMlp, config, layer);
  } else {
    layer.dense = LoadMlp(packer, at + kMlp);
  }
  return layer;
}

MtpWeights LoadMtp(Packer& packer, const ModelConfig& config) {
  const std::string at = LayerPrefix(config.num_layers);
  MtpWeights mtp;
  mtp.embedding_norm = packer.Vector(at + kMtpEmbeddingNorm);
  mtp.hidden_norm = packer.Vector(at + kMtpHiddenNorm);
  mtp.projection = packer.Linear(at + kMtpProjection);
  mtp.layer = LoadLayer(packer, config.num_layers, config);
  mtp.head_norm = packer.Vector(at + kMtpHeadNorm);
  if (packer.Differs(at + kMtpEmbedding, kEmbedding)) mtp.embedding = packer.Table(at + kMtpEmbedding);
  if (packer.Differs(at + kMtpHead, HeadName(config))) mtp.head = packer.Linear(at + kMtpHead);
  return mtp;
}

}  // namespace

absl::Status CheckComputable(const ModelConfig& config) {
  if (config.indexer.selected_tokens == 0) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrFormat("%s: expected attention to all positions, found sparse attention (index_topk = %d), which is not "
                      "implemented yet; serve a model without it",
                      config.model_type, config.indexer.selected_tokens));
}

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelConfig& config, MtpUse mtp, Device& device,
                                    Ops& ops) {
  CHECK(mtp == MtpUse::kNone || checkpoint.can_draft());
  if (absl::Status status = CheckComputable(config); !status.ok()) return status;
  Packer packer(checkpoint, device, ops);
  Weights weights;
  weights.packed_file = checkpoint.packed_file();
  weights.embedding = packer.Table(kEmbedding);
  for (int layer = 0; layer < config.num_layers && packer.status().ok(); ++layer) {
    weights.layers.push_back(LoadLayer(packer, layer, config));
  }
  weights.final_norm = packer.Vector(kFinalNorm);
  weights.head = packer.Linear(HeadName(config));
  if (mtp == MtpUse::kDraft && packer.status().ok()) weights.mtp = LoadMtp(packer, config);
  if (absl::Status status = packer.status(); !status.ok()) return status;
  if (absl::Status status = checkpoint.CheckTaken(packer.taken(), mtp); !status.ok()) return status;
  return weights;
}

}  // namespace latentd

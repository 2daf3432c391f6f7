#include "engine/model/checkpoint/tensor_catalog.h"

#include <utility>

#include <absl/strings/str_cat.h>

namespace latentd {
namespace {

class CatalogWalk {
 public:
  CatalogWalk(const ModelConfig& config, const std::function<absl::Status(const ExpectedTensor&)>& visit)
      : config_(config), visit_(visit) {}

  // Each step does nothing once a visit has refused.
  absl::Status Run() {
    const int64_t vocab = config_.vocab_size;
    const int64_t hidden = config_.hidden_size;
    Wide("model.embed_tokens.weight", {vocab, hidden});
    for (int layer = 0; layer < config_.num_layers && status_.ok(); ++layer) DecoderLayer(layer);
    Wide("model.norm.weight", {hidden});
    Visit({.name = "lm_head.weight", .shape = {vocab, hidden}, .optional = config_.tied_embedding});
    for (mtp_layer_ = 0; mtp_layer_ < config_.num_mtp_layers; ++mtp_layer_) MtpLayer(config_.num_layers + mtp_layer_);
    return status_;
  }

 private:
  void Visit(ExpectedTensor tensor) {
    tensor.mtp_layer = mtp_layer_;
    if (status_.ok()) status_ = visit_(tensor);
  }
  void Wide(std::string name, std::vector<int64_t> shape) {
    Visit({.name = std::move(name), .shape = std::move(shape)});
  }
  void Projection(std::string name, int64_t outputs, int64_t inputs) {
    Visit({.name = std::move(name), .shape = {outputs, inputs}, .role = TensorRole::kProjection});
  }

  void DecoderLayer(int layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    Wide(prefix + "input_layernorm.weight", {config_.hidden_size});
    Attention(prefix + "self_attn.");
    Wide(prefix + "post_attention_layernorm.weight", {config_.hidden_size});
    if (config_.IsMoe(layer)) {
      Experts(prefix + "mlp.");
    } else {
      Mlp(prefix + "mlp.", config_.dense_width);
    }
  }

  void Attention(const std::string& prefix) {
    const AttentionShape& shape = config_.attention;
    const int query_outputs = shape.num_heads * shape.query_width();
    if (config_.query_latent_width == 0) {
      Projection(prefix + "q_proj.weight", query_outputs, config_.hidden_size);
    } else {
      Projection(prefix + "q_a_proj.weight", config_.query_latent_width, config_.hidden_size);
      Wide(prefix + "q_a_layernorm.weight", {config_.query_latent_width});
      Projection(prefix + "q_b_proj.weight", query_outputs, config_.query_latent_width);
    }
    Projection(prefix + "kv_a_proj_with_mqa.weight", shape.latent_width + shape.rope_width, config_.hidden_size);
    Wide(prefix + "kv_a_layernorm.weight", {shape.latent_width});
    Projection(prefix + "kv_b_proj.weight", shape.num_heads * (shape.nope_width + shape.value_width),
               shape.latent_width);
    Projection(prefix + "o_proj.weight", config_.hidden_size, shape.num_heads * shape.value_width);
    if (config_.indexer.selected_tokens > 0) Indexer(prefix + "indexer.");
  }

  void Indexer(const std::string& prefix) {
    const IndexerShape& shape = config_.indexer;
    Projection(prefix + "wq_b.weight", shape.num_heads * shape.head_width, config_.query_latent_width);
    Projection(prefix + "wk.weight", shape.head_width, config_.hidden_size);
    Wide(prefix + "k_norm.weight", {shape.head_width});
    Wide(prefix + "k_norm.bias", {shape.head_width});
    Wide(prefix + "weights_proj.weight", {shape.num_heads, config_.hidden_size});
  }

  void Mlp(const std::string& prefix, int width) {
    Projection(prefix + "gate_proj.weight", width, config_.hidden_size);
    Projection(prefix + "up_proj.weight", width, config_.hidden_size);
    Projection(prefix + "down_proj.weight", config_.hidden_size, width);
  }

  void Experts(const std::string& prefix) {
    const int num_experts = config_.routing.num_experts;
    Wide(prefix + "gate.weight", {num_experts, config_.hidden_size});
    if (config_.has_routing_bias) Wide(prefix + "gate.e_score_correction_bias", {num_experts});
    for (int expert = 0; expert < num_experts && status_.ok(); ++expert) {
      Mlp(absl::StrCat(prefix, "experts.", expert, "."), config_.expert_width);
    }
    if (config_.shared_expert_width > 0) Mlp(prefix + "shared_experts.", config_.shared_expert_width);
  }

  void MtpLayer(int layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    const int64_t vocab = config_.vocab_size;
    const int64_t hidden = config_.hidden_size;
    DecoderLayer(layer);
    Visit({.name = prefix + "embed_tokens.weight", .shape = {vocab, hidden}, .optional = true});
    Wide(prefix + "enorm.weight", {hidden});
    Wide(prefix + "hnorm.weight", {hidden});
    Wide(prefix + "eh_proj.weight", {hidden, 2 * hidden});
    Wide(prefix + "shared_head.norm.weight", {hidden});
    Visit({.name = prefix + "shared_head.head.weight", .shape = {vocab, hidden}, .optional = true});
  }

  const ModelConfig& config_;
  const std::function<absl::Status(const ExpectedTensor&)>& visit_;
  absl::Status status_;
  int mtp_layer_ = -1;
};

}  // namespace

absl::Status ForEachExpectedTensor(const ModelConfig& config,
                                   const std::function<absl::Status(const ExpectedTensor&)>& visit) {
  return CatalogWalk(config, visit).Run();
}

}  // namespace latentd

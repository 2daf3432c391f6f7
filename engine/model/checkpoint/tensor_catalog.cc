#include "engine/model/checkpoint/tensor_catalog.h"

#include <utility>

#include "engine/model/checkpoint/tensor_names.h"

namespace latentd {
namespace {

using namespace tensor_names;

class CatalogWalk {
 public:
  CatalogWalk(const ModelConfig& config, const std::function<absl::Status(const ExpectedTensor&)>& visit)
      : config_(config), visit_(visit) {}

  // Each step does nothing once a visit has refused.
  absl::Status Run() {
    const int64_t vocab = config_.vocab_size;
    const int64_t hidden = config_.hidden_size;
    Visit({.name = kEmbedding, .shape = {vocab, hidden}, .role = TensorRole::kEmbedding});
    for (int layer = 0; layer < config_.num_layers && status_.ok(); ++layer) DecoderLayer(layer);
    Wide(kFinalNorm, {hidden});
    Visit({.name = kHead, .shape = {vocab, hidden}, .copy_of = config_.tied_embedding ? kEmbedding : ""});
    for (mtp_layer_ = 0; mtp_layer_ < config_.num_mtp_layers; ++mtp_layer_) MtpLayer(config_.num_layers + mtp_layer_);
    return status_;
  }

 private:
  void Visit(ExpectedTensor tensor) {
    tensor.mtp_layer = mtp_layer_;
    const bool is_drafting = mtp_layer_ == 0 && tensor.use == TensorUse::kLoaded;
    if (mtp_layer_ >= 0 || tensor.is_copy()) tensor.use = is_drafting ? TensorUse::kDrafting : TensorUse::kChecked;
    if (status_.ok()) status_ = visit_(tensor);
  }
  void Wide(std::string name, std::vector<int64_t> shape) {
    Visit({.name = std::move(name), .shape = std::move(shape)});
  }
  void Projection(std::string name, int64_t outputs, int64_t inputs) {
    Visit({.name = std::move(name), .shape = {outputs, inputs}, .role = TensorRole::kProjection});
  }
  void Checked(std::string name, std::vector<int64_t> shape, TensorRole role) {
    Visit({.name = std::move(name), .shape = std::move(shape), .role = role, .use = TensorUse::kChecked});
  }

  void DecoderLayer(int layer) {
    const std::string prefix = LayerPrefix(layer);
    Wide(prefix + kAttentionNorm, {config_.hidden_size});
    Attention(prefix + kAttention);
    Wide(prefix + kFeedForwardNorm, {config_.hidden_size});
    if (config_.IsMoe(layer)) {
      Experts(prefix + kMlp);
    } else {
      Mlp(prefix + kMlp, config_.dense_width);
    }
  }

  void Attention(const std::string& prefix) {
    const AttentionShape& shape = config_.attention;
    const int query_outputs = shape.num_heads * shape.query_width();
    if (config_.query_latent_width == 0) {
      Projection(prefix + kQuery, query_outputs, config_.hidden_size);
    } else {
      Projection(prefix + kQueryDown, config_.query_latent_width, config_.hidden_size);
      Wide(prefix + kQueryNorm, {config_.query_latent_width});
      Projection(prefix + kQueryUp, query_outputs, config_.query_latent_width);
    }
    Projection(prefix + kKeyValueDown, shape.latent_width + shape.rope_width, config_.hidden_size);
    Wide(prefix + kKeyValueNorm, {shape.latent_width});
    Visit({.name = prefix + kKeyValueUp,
           .shape = {shape.num_heads * (shape.nope_width + shape.value_width), shape.latent_width},
           .role = TensorRole::kKeyValueUp});
    Projection(prefix + kOut, config_.hidden_size, shape.num_heads * shape.value_width);
    if (config_.indexer.selected_tokens > 0) Indexer(prefix + kIndexer);
  }

  void Indexer(const std::string& prefix) {
    const IndexerShape& shape = config_.indexer;
    Checked(prefix + kIndexerQuery, {shape.num_heads * shape.head_width, config_.query_latent_width},
            TensorRole::kProjection);
    Checked(prefix + kIndexerKey, {shape.head_width, config_.hidden_size}, TensorRole::kProjection);
    Checked(prefix + kIndexerKeyNorm, {shape.head_width}, TensorRole::kWide);
    Checked(prefix + kIndexerKeyNormBias, {shape.head_width}, TensorRole::kWide);
    Checked(prefix + kIndexerWeights, {shape.num_heads, config_.hidden_size}, TensorRole::kWide);
  }

  void Mlp(const std::string& prefix, int width) {
    Projection(prefix + kGate, width, config_.hidden_size);
    Projection(prefix + kUp, width, config_.hidden_size);
    Projection(prefix + kDown, config_.hidden_size, width);
  }

  void Experts(const std::string& prefix) {
    const int num_experts = config_.routing.num_experts;
    Wide(prefix + kRouter, {num_experts, config_.hidden_size});
    if (config_.has_routing_bias) {
      Visit({.name = prefix + kRoutingBias, .shape = {num_experts}, .role = TensorRole::kRoutingBias});
    }
    for (int expert = 0; expert < num_experts && status_.ok(); ++expert) {
      Mlp(prefix + ExpertPrefix(expert), config_.expert_width);
    }
    if (config_.shared_expert_width > 0) Mlp(prefix + kSharedExperts, config_.shared_expert_width);
  }

  void MtpLayer(int layer) {
    const std::string prefix = LayerPrefix(layer);
    const int64_t vocab = config_.vocab_size;
    const int64_t hidden = config_.hidden_size;
    DecoderLayer(layer);
    Visit({.name = prefix + kMtpEmbedding,
           .shape = {vocab, hidden},
           .role = TensorRole::kEmbedding,
           .copy_of = kEmbedding});
    Wide(prefix + kMtpEmbeddingNorm, {hidden});
    Wide(prefix + kMtpHiddenNorm, {hidden});
    Wide(prefix + kMtpProjection, {hidden, 2 * hidden});
    Wide(prefix + kMtpHeadNorm, {hidden});
    Visit(
        {.name = prefix + kMtpHead, .shape = {vocab, hidden}, .copy_of = config_.tied_embedding ? kEmbedding : kHead});
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

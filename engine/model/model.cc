#include "engine/model/model.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/check.h"
#include "engine/model/config/rope.h"

namespace latentd {
namespace {

absl::Status CheckActivations(const StepLimits& limits, const Ops& ops) {
  std::vector<std::string> names;
  for (const ActivationFormat format : ops.activation_formats()) {
    if (format == limits.activations) return absl::OkStatus();
    names.emplace_back(NameOf(format));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("activations: expected what this backend computes with (%s), found %s",
                      absl::StrJoin(names, ", "), std::string(NameOf(limits.activations))));
}

RopeTable TableOf(const ModelConfig& config, const DeviceBuffer& angles) {
  const int width = config.attention.rope_width;
  const int positions = static_cast<int>(angles.bytes() / sizeof(float)) / width;
  return {.angles = {angles.As<float>(), positions, width, width}, .pairs = config.rope.pairs};
}

}  // namespace

StepLimits StepLimitsOf(const ModelConfig& config, const ModelLimits& limits, const Ops& ops) {
  const AttentionShape& shape = config.attention;
  const int widest = std::max(
      {config.hidden_size, config.query_latent_width, config.dense_width, shape.num_heads * shape.value_width});
  return {.max_tokens = limits.max_tokens,
          .max_rows = limits.max_rows,
          .max_logit_rows = limits.max_logit_rows,
          .max_context = limits.max_context,
          .hidden_size = config.hidden_size,
          .max_linear_inputs = widest,
          .vocab_size = config.vocab_size,
          .attention = shape,
          .experts_per_token = config.routing.experts_per_token,
          .expert_width = config.expert_width,
          .shared_expert_width = config.shared_expert_width,
          .activations = limits.activations,
          .latents = limits.latents.value_or(ops.latent_formats(limits.activations).front())};
}

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const Checkpoint& checkpoint, const ModelConfig& config,
                                                   const ModelLimits& limits, Device& device, Ops& ops) {
  const StepLimits step = StepLimitsOf(config, limits, ops);
  if (absl::Status supported = CheckActivations(step, ops); !supported.ok()) return supported;
  if (absl::Status reserved = ops.Reserve(step); !reserved.ok()) return reserved;
  absl::StatusOr<Weights> weights = LoadWeights(checkpoint, config, device, ops);
  if (!weights.ok()) return weights.status();
  absl::StatusOr<LatentCache> cache = LatentCache::Allocate(device, config, step.latents, limits.num_blocks);
  if (!cache.ok()) return cache.status();
  absl::StatusOr<ActivationMemory> memory = ActivationMemory::Allocate(device, config, step);
  if (!memory.ok()) return memory.status();

  const std::vector<float> angles = RopeAngles(config.attention, config.rope, limits.max_context);
  absl::StatusOr<DeviceBuffer> table = device.Allocate(angles.size() * sizeof(float));
  if (!table.ok()) return table.status();
  device.Upload(angles.data(), table->bytes(), table->As<float>());
  Parts parts = {.weights = *std::move(weights),
                 .cache = *std::move(cache),
                 .memory = *std::move(memory),
                 .angles = *std::move(table)};
  return std::unique_ptr<Model>(new Model(config, std::move(parts), ops));
}

Model::Model(const ModelConfig& config, Parts parts, Ops& ops)
    : config_(config),
      weights_(std::move(parts.weights)),
      cache_(std::move(parts.cache)),
      memory_(std::move(parts.memory)),
      angles_(std::move(parts.angles)),
      rope_(TableOf(config, angles_)),
      ops_(ops) {}

Tensor Model::Forward(const Batch& batch) {
  CHECK_LE(batch.num_tokens(), memory_.largest.x.rows);
  CHECK_LE(batch.num_logit_rows(), memory_.largest.logits.rows);
  a_ = memory_.largest.FirstRows(batch.num_tokens(), batch.num_logit_rows());
  const float epsilon = static_cast<float>(config_.epsilon);

  ops_.Embed(batch, *weights_.embedding, a_.x);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
    if (layer == 0) {
      ops_.RmsNorm(a_.x, w.attention_norm.values(), epsilon, a_.h);
    } else {
      ops_.AddRmsNorm(a_.x, a_.delta, w.attention_norm.values(), epsilon, a_.h);
    }
    Attention(layer, batch);
    ops_.AddRmsNorm(a_.x, a_.delta, w.feed_forward_norm.values(), epsilon, a_.h);
    FeedForward(layer);
  }
  return Head(batch);
}

void Model::CopyLatents(const SlotCopy& copy) {
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    ops_.CopyLatents(cache_[layer], copy.from, copy.to, copy.count);
  }
}

void Model::Attention(int layer, const Batch& batch) {
  const AttentionWeights& w = weights_.layers[static_cast<size_t>(layer)].attention;
  const AttentionShape& shape = config_.attention;
  const float epsilon = static_cast<float>(config_.latent_epsilon);
  if (w.q_down != nullptr) {
    ops_.Linear(a_.h, *w.q_down, a_.q_latent.values);  // c_Q = W_DQ h
    ops_.RmsNorm(a_.q_latent.values, w.q_norm.values(), epsilon, a_.q_latent);
    ops_.Linear(a_.q_latent, *w.q_up, a_.q);  // [q_C; q_R] = [W_UQ; W_QR] c_Q
  } else {
    ops_.Linear(a_.h, *w.q_up, a_.q);
  }
  ops_.RotateQueries(batch, rope_, shape, a_.q);
  ops_.Linear(a_.h, *w.kv_down, a_.kv);  // [c_KV; k_R] = [W_DKV; W_KR] h
  ops_.AppendLatent(a_.kv, w.kv_norm.values(), epsilon, batch, rope_, cache_[layer]);
  ops_.AttendLatent(a_.q, *w.kv_up, shape, static_cast<float>(config_.softmax_scale), batch, cache_[layer], a_.heads);
  ops_.Linear(a_.heads, *w.out, a_.delta);  // u = W_O o
}

void Model::FeedForward(int layer) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  if (config_.IsMoe(layer)) {
    ops_.Linear(a_.h, *w.router, a_.router_logits);
    ops_.RouteExperts(a_.router_logits, w.routing_bias.values(), config_.routing, a_.routing);
    ops_.MixExperts(a_.h, a_.routing, *w.experts, a_.delta);
  } else {
    ops_.Linear(a_.h, *w.dense.gate, a_.gate.values);
    ops_.Linear(a_.h, *w.dense.up, a_.up);
    ops_.SwiGlu(a_.gate.values, a_.up, a_.gate);
    ops_.Linear(a_.gate, *w.dense.down, a_.delta);
  }
}

Tensor Model::Head(const Batch& batch) {
  ops_.GatherRows(batch.logit_tokens, a_.x, a_.logit_x);
  ops_.GatherRows(batch.logit_tokens, a_.delta, a_.logit_delta);
  ops_.AddRmsNorm(a_.logit_x, a_.logit_delta, weights_.final_norm.values(), static_cast<float>(config_.epsilon),
                  a_.logit_h);
  ops_.Linear(a_.logit_h, *weights_.head, a_.logits);
  return a_.logits;
}

}  // namespace latentd

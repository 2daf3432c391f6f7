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
  const int most_hidden = limits.loads_mtp == MtpUse::kDraft ? 2 * config.hidden_size : config.hidden_size;
  const int widest =
      std::max({most_hidden, config.query_latent_width, config.dense_width, shape.num_heads * shape.value_width});
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
  absl::StatusOr<Weights> weights = LoadWeights(checkpoint, config, limits.loads_mtp, device, ops);
  if (!weights.ok()) return weights.status();
  absl::StatusOr<LatentCache> cache =
      LatentCache::Allocate(device, config, limits.loads_mtp, step.latents, limits.num_blocks);
  if (!cache.ok()) return cache.status();
  absl::StatusOr<ActivationMemory> memory = ActivationMemory::Allocate(device, config, limits.loads_mtp, step);
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

HeadOutput Model::Forward(const Batch& batch, HiddenStates kept) {
  Cut(batch.num_tokens(), batch.num_logit_rows());
  ops_.Embed(batch, *weights_.embedding, a_.x);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
    if (layer == 0) {
      ops_.RmsNorm(a_.x, w.attention_norm.values(), epsilon(), a_.h);
    } else {
      ops_.AddRmsNorm(a_.x, a_.delta, w.attention_norm.values(), epsilon(), a_.h);
    }
    StoreLatents(w.attention, batch, cache_[layer]);
    Attend(w.attention, batch, cache_[layer]);
    ops_.AddRmsNorm(a_.x, a_.delta, w.feed_forward_norm.values(), epsilon(), a_.h);
    FeedForward(w);
  }
  if (kept == HiddenStates::kOfAll) {
    CHECK(can_draft());
    ops_.AddRmsNorm(a_.x, a_.delta, weights_.final_norm.values(), epsilon(), a_.hidden);
    ops_.GatherRows(batch.logit_tokens, a_.hidden, a_.logit_h);
  } else {
    GatherLogitRows(batch);
    ops_.AddRmsNorm(a_.logit_x, a_.logit_delta, weights_.final_norm.values(), epsilon(), a_.logit_h);
  }
  ops_.Linear(a_.logit_h, *weights_.head, a_.logits);
  return {.logits = a_.logits, .hidden = kept == HiddenStates::kOfAll ? a_.hidden : a_.logit_h};
}

HeadOutput Model::Draft(const Batch& batch, Tensor hidden) {
  CHECK(can_draft());
  CHECK_EQ(batch.hidden_rows.size(), batch.token_ids.size());
  const MtpWeights& w = *weights_.mtp;
  const LatentPages pages = cache_[config_.num_layers];
  Cut(batch.num_tokens(), batch.num_logit_rows());
  PairStates(batch, hidden);
  ops_.Linear(a_.pair, *w.projection, a_.x);
  ops_.RmsNorm(a_.x, w.layer.attention_norm.values(), epsilon(), a_.h);
  StoreLatents(w.layer.attention, batch, pages);
  // What is behind the latents matters to those tokens alone whose logits are wanted.
  if (batch.num_logit_rows() == 0) return {.logits = a_.logits, .hidden = a_.logit_h};
  Attend(w.layer.attention, batch, pages);
  GatherLogitRows(batch);
  Cut(batch.num_logit_rows(), batch.num_logit_rows());
  ops_.AddRmsNorm(a_.logit_x, a_.logit_delta, w.layer.feed_forward_norm.values(), epsilon(), a_.h);
  FeedForward(w.layer);
  ops_.AddRmsNorm(a_.logit_x, a_.delta, w.head_norm.values(), epsilon(), a_.logit_h);
  ops_.Linear(a_.logit_h, w.head != nullptr ? *w.head : *weights_.head, a_.logits);
  return {.logits = a_.logits, .hidden = a_.logit_h};
}

void Model::CopyLatents(const SlotCopy& copy) {
  for (int layer = 0; layer < cache_.num_layers(); ++layer) {
    ops_.CopyLatents(cache_[layer], copy.from, copy.to, copy.count);
  }
}

void Model::Cut(int num_tokens, int num_logit_rows) {
  CHECK_LE(num_tokens, memory_.largest.x.rows);
  CHECK_LE(num_logit_rows, memory_.largest.logits.rows);
  a_ = memory_.largest.FirstRows(num_tokens, num_logit_rows);
}

// [RMS(Embed(t); enorm); RMS(h; hnorm)]: the embedding's half first, whatever the paper's formula says.
void Model::PairStates(const Batch& batch, Tensor hidden) {
  const MtpWeights& w = *weights_.mtp;
  Tensor embedded = a_.pair, before = a_.pair;
  embedded.width = before.width = config_.hidden_size;
  before.values += config_.hidden_size;
  ops_.Embed(batch, w.embedding != nullptr ? *w.embedding : *weights_.embedding, embedded);
  ops_.RmsNorm(embedded, w.embedding_norm.values(), epsilon(), embedded);
  ops_.GatherRows(batch.hidden_rows, hidden, before);
  ops_.RmsNorm(before, w.hidden_norm.values(), epsilon(), before);
}

void Model::StoreLatents(const AttentionWeights& w, const Batch& batch, const LatentPages& pages) {
  ops_.Linear(a_.h, *w.kv_down, a_.kv);  // [c_KV; k_R] = [W_DKV; W_KR] h
  ops_.AppendLatent(a_.kv, w.kv_norm.values(), static_cast<float>(config_.latent_epsilon), batch, rope_, pages);
}

void Model::Attend(const AttentionWeights& w, const Batch& batch, const LatentPages& pages) {
  const AttentionShape& shape = config_.attention;
  if (w.q_down != nullptr) {
    ops_.Linear(a_.h, *w.q_down, a_.q_latent.values);  // c_Q = W_DQ h
    ops_.RmsNorm(a_.q_latent.values, w.q_norm.values(), static_cast<float>(config_.latent_epsilon), a_.q_latent);
    ops_.Linear(a_.q_latent, *w.q_up, a_.q);  // [q_C; q_R] = [W_UQ; W_QR] c_Q
  } else {
    ops_.Linear(a_.h, *w.q_up, a_.q);
  }
  ops_.RotateQueries(batch, rope_, shape, a_.q);
  ops_.AttendLatent(a_.q, *w.kv_up, shape, static_cast<float>(config_.softmax_scale), batch, pages, a_.heads);
  ops_.Linear(a_.heads, *w.out, a_.delta);  // u = W_O o
}

void Model::FeedForward(const LayerWeights& w) {
  if (w.experts != nullptr) {
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

void Model::GatherLogitRows(const Batch& batch) {
  ops_.GatherRows(batch.logit_tokens, a_.x, a_.logit_x);
  ops_.GatherRows(batch.logit_tokens, a_.delta, a_.logit_delta);
}

}  // namespace latentd

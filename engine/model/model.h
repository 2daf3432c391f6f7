// The forward pass of the DeepSeek family, reading like the paper: tensors only, no sequences, no numerics of its own.
// Engine thread only. Must not outlive the Device and the Ops it was loaded with.
#pragma once

#include <memory>
#include <optional>

#include <absl/status/statusor.h>

#include "engine/model/activations.h"
#include "engine/model/config/model_config.h"
#include "engine/model/latent_cache.h"
#include "engine/model/weights.h"
#include "kernels/batch.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd {

struct ModelLimits {
  int num_blocks = 0;                                  // of the latent cache, block 0 included
  int max_tokens = 0;                                  // of one step
  int max_rows = 0;                                    // of one step
  int max_logit_rows = 0;                              // of one step
  int max_context = 0;                                 // positions that will ever occur
  std::optional<LatentFormat> latents = std::nullopt;  // what the cache stores; nothing: what the backend prefers
  ActivationFormat activations = ActivationFormat::kF32;
  MtpUse loads_mtp = MtpUse::kNone;  // kDraft needs Checkpoint::can_draft
};

enum class HiddenStates : uint8_t { kOfLogits, kOfAll };

// Valid until the next call.
struct HeadOutput {
  Tensor logits;  // [logit rows, V], of batch.logit_tokens
  Tensor hidden;  // behind the last norm: [logit rows, d], or those of all tokens [tokens, d]
};

// The same as the backend reserves memory for.
StepLimits StepLimitsOf(const ModelConfig& config, const ModelLimits& limits, const Ops& ops);

class Model {
 public:
  // Packs the weights and allocates all memory of the forward pass. The checkpoint may be closed afterwards.
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Checkpoint& checkpoint, const ModelConfig& config,
                                                     const ModelLimits& limits, Device& device, Ops& ops);

  // Runs the batch's tokens through all layers, fills their cache slots, and returns the logits. Only enqueues work.
  // kOfAll is for Draft, and needs can_draft.
  HeadOutput Forward(const Batch& batch, HiddenStates kept = HiddenStates::kOfLogits);

  // The same of the layer that predicts further tokens (docs/spec/deepseek.md 3.7): a token stands behind row
  // batch.hidden_rows of `hidden`, which the last call gave, and its logits are of the token behind it. The token at
  // position 0 is behind none, so rows have a first_key of at least 1. The hidden states are those of logit_tokens.
  HeadOutput Draft(const Batch& batch, Tensor hidden);
  bool can_draft() const { return weights_.mtp.has_value(); }

  // Copies slots of the cache in every layer, the one that drafts included, before the Forward that reads or writes
  // them. Only enqueues work.
  void CopyLatents(const SlotCopy& copy);

  const ModelConfig& config() const { return config_; }
  size_t cache_bytes() const { return cache_.bytes(); }
  // A step has at most so many.
  int max_tokens() const { return memory_.largest.x.rows; }
  int max_logit_rows() const { return memory_.largest.logits.rows; }

 private:
  struct Parts {
    Weights weights;
    LatentCache cache;
    ActivationMemory memory;
    DeviceBuffer angles;  // of every position
  };
  Model(const ModelConfig& config, Parts parts, Ops& ops);

  void Cut(int num_tokens, int num_logit_rows);
  void StoreLatents(const AttentionWeights& w, const Batch& batch, const LatentPages& pages);
  void Attend(const AttentionWeights& w, const Batch& batch, const LatentPages& pages);
  void FeedForward(const LayerWeights& w);
  void PairStates(const Batch& batch, Tensor hidden);
  void GatherLogitRows(const Batch& batch);
  float epsilon() const { return static_cast<float>(config_.epsilon); }

  const ModelConfig config_;
  const Weights weights_;
  const LatentCache cache_;
  const ActivationMemory memory_;
  const DeviceBuffer angles_;  // of rope_
  const RopeTable rope_;
  Ops& ops_;
  Activations a_;  // memory_ cut to the step at hand
};

}  // namespace latentd

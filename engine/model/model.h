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
};

// The same as the backend reserves memory for.
StepLimits StepLimitsOf(const ModelConfig& config, const ModelLimits& limits, const Ops& ops);

class Model {
 public:
  // Packs the weights and allocates all memory of the forward pass. The checkpoint may be closed afterwards.
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Checkpoint& checkpoint, const ModelConfig& config,
                                                     const ModelLimits& limits, Device& device, Ops& ops);

  // Runs the batch's tokens through all layers, fills their cache slots, and returns the logits [logit rows, vocab] of
  // batch.logit_tokens, valid until the next call. Only enqueues work. The hidden state behind the last layer stays
  // inside: a layer that predicts further tokens needs it beside the logits.
  Tensor Forward(const Batch& batch);

  // Copies slots of the cache in every layer, before the Forward that reads or writes them. Only enqueues work.
  void CopyLatents(const SlotCopy& copy);

  const ModelConfig& config() const { return config_; }
  size_t cache_bytes() const { return cache_.bytes(); }

 private:
  struct Parts {
    Weights weights;
    LatentCache cache;
    ActivationMemory memory;
    DeviceBuffer angles;  // of every position
  };
  Model(const ModelConfig& config, Parts parts, Ops& ops);

  void Attention(int layer, const Batch& batch);
  void FeedForward(int layer);
  Tensor Head(const Batch& batch);

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

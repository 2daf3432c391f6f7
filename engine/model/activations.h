// Views of the activations of one step, and the memory behind them: allocated for the largest step, reused by every
// layer of every step.
#pragma once

#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd {

// The codes' scales are as the checkpoint's: powers of two where it was trained with them, never elsewhere.
ScaleFormat CodeScaleFormat(const ModelConfig& config);

// An Activation has codes under kE4M3 (W8A8, docs/spec/deepseek.md 4.3).
struct Activations {
  Tensor x;              // [tokens, d], the residual stream
  Activation h;          // [tokens, d], its norm
  Tensor delta;          // [tokens, d], what a sublayer adds
  Activation q_latent;   // c_Q [tokens, r_q]
  Tensor q;              // [q_C; q_R] [tokens, H (d_n + d_r)]
  Tensor kv;             // [c_KV; k_R] [tokens, r + d_r]
  Activation heads;      // [tokens, H d_v]
  Activation gate;       // [tokens, dense width], later the hidden layer
  Tensor up;             // [tokens, dense width]
  Tensor router_logits;  // [tokens, E]
  Routing routing;       // [tokens, K]

  Tensor logit_x, logit_delta, logit_h;  // [logit rows, d], of the tokens whose logits are wanted
  Tensor logits;                         // [logit rows, V]

  // These belong to a layer that predicts further tokens; empty without one.
  Tensor hidden;  // [tokens, d], of the main layers behind the last norm
  Tensor pair;    // [tokens, 2d], the normed embeddings and the normed hidden states

  Activations FirstRows(int num_tokens, int num_logit_rows) const;
};

struct ActivationMemory {
  // What Allocate will take.
  static size_t Bytes(const ModelConfig& config, MtpUse mtp, const StepLimits& limits);
  static absl::StatusOr<ActivationMemory> Allocate(Device& device, const ModelConfig& config, MtpUse mtp,
                                                   const StepLimits& limits);

  Activations largest;
  std::vector<DeviceBuffer> buffers;
};

}  // namespace latentd

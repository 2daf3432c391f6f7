// The parameters of the model, packed by the backend once at load: three levels of plain structs that follow the
// paper. Owned by Model, immutable afterwards; must not outlive the Device and the Ops that made them.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <absl/status/statusor.h>

#include "base/mapped_file.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd {

using MatrixPointer = std::unique_ptr<const Matrix>;

// fp32 values in the device's memory: a norm's weight or the experts' correction bias. Empty where the model has none.
struct DeviceVector {
  DeviceBuffer memory;
  const float* values() const { return memory.As<float>(); }
};

struct AttentionWeights {
  MatrixPointer q_down;   // W_DQ [r_q, d]; null without query compression
  DeviceVector q_norm;    // [r_q]
  MatrixPointer q_up;     // [W_UQ; W_QR] [H (d_n + d_r), r_q], or W_Q [H (d_n + d_r), d]
  MatrixPointer kv_down;  // [W_DKV; W_KR] [r + d_r, d]
  DeviceVector kv_norm;   // [r]
  MatrixPointer kv_up;    // W_UK and W_UV of every head
  MatrixPointer out;      // W_O [d, H d_v]
};

struct DenseMlp {
  MatrixPointer gate;  // [width, d]
  MatrixPointer up;    // [width, d]
  MatrixPointer down;  // [d, width]
};

struct LayerWeights {
  DeviceVector attention_norm;  // [d]
  AttentionWeights attention;
  DeviceVector feed_forward_norm;          // [d]
  DenseMlp dense;                          // of a dense layer
  MatrixPointer router;                    // [E, d], of an expert layer
  DeviceVector routing_bias;               // [E]
  std::unique_ptr<const Experts> experts;  // null in a dense layer
};

// The first of the layers that predict further tokens (docs/spec/deepseek.md 3.7).
struct MtpWeights {
  DeviceVector embedding_norm;  // [d]
  DeviceVector hidden_norm;     // [d]
  MatrixPointer projection;     // [d, 2d], of the normed embedding, then the normed hidden state
  LayerWeights layer;
  DeviceVector head_norm;   // [d]
  MatrixPointer embedding;  // table [V, d]; null where it is the main one
  MatrixPointer head;       // [V, d]; null where it is the main one
};

struct Weights {
  std::shared_ptr<const MappedFile> packed_file;  // that the matrices are views of; null where they are copies
  MatrixPointer embedding;                        // table [V, d]
  std::vector<LayerWeights> layers;
  DeviceVector final_norm;  // [d]
  MatrixPointer head;       // [V, d]
  std::optional<MtpWeights> mtp;
};

// UNIMPLEMENTED, with the reason, for what can be read and checked but not computed yet.
absl::Status CheckComputable(const ModelConfig& config);

// Reads each matrix once, copies and what they repeat twice, and checks its values on the way. INTERNAL, with its name,
// where a tensor that the catalogue says is loaded was forgotten here. kDraft needs Checkpoint::can_draft.
absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelConfig& config, MtpUse mtp, Device& device,
                                    Ops& ops);

}  // namespace latentd

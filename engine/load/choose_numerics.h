// The choices that decide the bytes of an answer beside the checkpoint's values: the formats of the arithmetic, and the
// name that clients see for all of it.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "engine/load/choose_backend.h"
#include "engine/load/load_options.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "kernels/tensor.h"

namespace latentd {

struct Numerics {
  ActivationFormat activations = ActivationFormat::kF32;
  LatentFormat latents = LatentFormat::kF32;
};

// The meaning of the options activations and kv_dtype with this checkpoint on this device. INVALID_ARGUMENT where the
// device computes with no such activations or does not store such latents beside them, or where codes were asked for
// and no weight would meet them.
absl::StatusOr<Numerics> ChooseNumerics(const LoadOptions& options, const Checkpoint& checkpoint,
                                        const ModelConfig& config, const ChosenBackend& chosen);

// The weights' format, from the tensors: config.json may be older than they are.
std::string QuantizationOf(const Checkpoint& checkpoint, const ModelConfig& config);

// Two servers with one fingerprint give the same bytes.
std::string FingerprintOf(const Numerics& numerics, const ChosenBackend& chosen, const ModelConfig& config,
                          std::string_view quantization, std::string_view revision);

}  // namespace latentd

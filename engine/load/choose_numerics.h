// The choices that decide the bytes of an answer beside the checkpoint's values: the formats of the arithmetic, and the
// name that clients see for all of it.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "engine/load/choose_backend.h"
#include "engine/load/load_options.h"
#include "engine/model/activations.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace latentd {

// The meaning of the option fp8_activations with this checkpoint on this device. INVALID_ARGUMENT where codes were
// asked for and no weight would meet them.
absl::StatusOr<ActivationFormat> ChooseActivations(const LoadOptions& options, const Checkpoint& checkpoint,
                                                   const ModelConfig& config, const ChosenBackend& chosen);

// The weights' format, from the tensors: config.json may be older than they are.
std::string QuantizationOf(const Checkpoint& checkpoint, const ModelConfig& config);

// What the bytes of answers depend on beside the files.
struct Numerics {
  const ModelConfig& config;
  const ChosenBackend& chosen;
  ActivationFormat activations = ActivationFormat::kF32;
};

// Two servers with one fingerprint give the same bytes.
std::string FingerprintOf(const Numerics& numerics, std::string_view quantization, std::string_view revision);

}  // namespace latentd

// The choices that decide the bytes of an answer beside the checkpoint's values: the formats of the arithmetic, and the
// name that clients see for all of it.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "engine/model/activations.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "latentd/v1/models.pb.h"
#include "server/config/config.h"
#include "server/start/choose_backend.h"

namespace latentd {

// The meaning of --fp8-activations with this checkpoint on this device. INVALID_ARGUMENT where codes were asked for
// and no weight would meet them.
absl::StatusOr<Fp8Activations> ChooseFp8Activations(const Config& config, const Checkpoint& checkpoint,
                                                    const ModelConfig& facts, const ChosenBackend& chosen);

// The weights' format, from the tensors: config.json may be older than they are.
std::string QuantizationOf(const Checkpoint& checkpoint, const ModelConfig& facts);

// Two servers with one fingerprint give the same bytes. Reads quantization and revision of `model`.
std::string FingerprintOf(const v1::Model& model, const ModelConfig& facts, const ChosenBackend& chosen,
                          Fp8Activations fp8_activations);

}  // namespace latentd

// From a directory to a model that is ready to run, within the limits that the operator chose.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/load/load_progress.h"
#include "engine/model/model.h"
#include "engine/step/engine.h"
#include "server/api/served_model.h"
#include "server/config/config.h"
#include "server/config/knobs.h"
#include "server/start/choose_backend.h"

namespace latentd {

struct LoadedModel {
  ChosenBackend chosen;  // before the model, whose memory returns to it
  std::unique_ptr<Model> model;
  Fp8Activations fp8_activations = Fp8Activations::kOff;
  ServedModel served;
  EngineOptions engine;
  int64_t max_queued_tokens = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> sizes;  // what was derived from memory and the measured rate, a line each
  DerivedKnobs derived;            // the same by the knob that would set it
  double tokenizer_seconds = 0.0;  // what it took to load
  double weights_seconds = 0.0;
};

// An error is one line: what was expected, what was found, what to do.
absl::StatusOr<std::unique_ptr<LoadedModel>> LoadModel(const Config& config, LoadProgress& progress);

// The name of a model in that directory: the directory's name, or "org/name" within a cache of Hugging Face's, where
// directories are called by revision.
std::string ModelName(const std::filesystem::path& directory);

}  // namespace latentd

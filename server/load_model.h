// From a directory to a model that is ready to run, within the limits that the operator chose.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/engine.h"
#include "engine/model/model.h"
#include "server/choose_backend.h"
#include "server/config.h"
#include "server/load_progress.h"
#include "server/served_model.h"

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
  std::vector<std::pair<std::string, std::string>> derived;  // the same by the knob that would set it
  // `knobs` with what was derived in place of the zeros that left it to the daemon.
  std::vector<KnobValue> Resolve(std::vector<KnobValue> knobs) const;
  double tokenizer_seconds = 0.0;  // what it took to load
  double weights_seconds = 0.0;
};

// An error is one line: what was expected, what was found, what to do.
absl::StatusOr<std::unique_ptr<LoadedModel>> LoadModel(const Config& config, LoadProgress& progress);

// What a model in that directory is called: the directory's name, or "org/name" within a cache of Hugging Face's, where
// directories are called by revision.
std::string ModelName(const std::filesystem::path& directory);

}  // namespace latentd

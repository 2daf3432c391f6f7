// From a directory to a model that is ready to run, within the limits that its user chose. Knows no protocol and no
// server: the daemon loads with it, and so does the bench. Code that brings limits of its own, as most tests of the
// engine do, opens the Checkpoint and calls Model::Load.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/load/choose_backend.h"
#include "engine/load/choose_numerics.h"
#include "engine/load/load_options.h"
#include "engine/load/load_text.h"
#include "engine/model/checkpoint/lent_matrix.h"
#include "engine/model/model.h"
#include "engine/step/engine.h"
#include "kernels/profiled_ops.h"

namespace latentd {

// How a model presents itself beside its configuration, which Model::config() has.
struct ModelDescription {
  std::string name;
  std::string quantization;  // "bf16", "fp32", "fp8_e4m3_block128" or "int4_group32"
  std::string revision;      // of configuration and weights, 32 hexadecimal digits
  std::string fingerprint;   // two servers with one fingerprint give the same bytes
};

struct LoadedModel {
  ChosenBackend chosen;                 // before the model, whose memory returns to it
  ProfiledOps* profiled_ops = nullptr;  // those of `chosen`; null on a GPU, whose verbs only launch
  std::unique_ptr<Model> model;
  Numerics numerics;
  ModelText text;
  ModelDescription description;
  EngineOptions engine;
  int64_t max_queued_tokens = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> sizes;  // what was derived from memory and the measured rate, a line each
  std::vector<std::pair<std::string, std::string>>
      derived;                     // the same by the option that would set it, as flags have it
  double tokenizer_seconds = 0.0;  // what it took to load
  double weights_seconds = 0.0;
};

// An error is one line: what was expected, what was found, what to do. Measures the rate of the model's steps at the
// end. `on_read`, if any, hears from any of its threads of every byte of the weights that is read.
absl::StatusOr<std::unique_ptr<LoadedModel>> LoadModel(const LoadOptions& options, OnRead on_read = nullptr);

}  // namespace latentd

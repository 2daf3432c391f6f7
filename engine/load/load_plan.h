// What a start will take and within which sizes it will run, told from a configuration, the headers of the weights and
// this machine's memory, before any weight is read.
#pragma once

#include <cstdint>

#include <absl/status/statusor.h>

#include "engine/load/choose_backend.h"
#include "engine/load/choose_drafts.h"
#include "engine/load/choose_numerics.h"
#include "engine/load/load_options.h"
#include "engine/load/sizing.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace latentd {

struct LoadPlan {
  Numerics numerics;
  ChosenDrafts drafts;
  int context = 0;
  int step_tokens = 0;
  CacheSize cache;
  uint64_t available_bytes = 0;  // before anything is taken
  uint64_t weight_bytes = 0;
  uint64_t step_bytes = 0;
  uint64_t cache_bytes = 0;

  int64_t slots() const;  // tokens that the cache holds
};

// What one request may need. INVALID_ARGUMENT where more was asked for than the model can.
absl::StatusOr<int> MaxContext(const LoadOptions& options, const ModelConfig& config);

// An error is one line: what was expected, what was found, what to do.
absl::StatusOr<LoadPlan> PlanLoad(const LoadOptions& options, const ModelConfig& config, const Checkpoint& checkpoint,
                                  const ChosenBackend& chosen);

}  // namespace latentd

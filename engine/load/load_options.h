// What an operator or a tool chooses of how a model is loaded, named as the daemon's knobs are. 0 and "auto" leave it
// to the loader, which says in LoadedModel what it decided.
#pragma once

#include <cstdint>
#include <string>

#include "engine/model/config/generation_config.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/tenant_rules.h"

namespace latentd {

struct LoadOptions {
  std::string model_directory = {};
  std::string chat_template = {};          // a file, or the name of one of the model's; empty: as transformers chooses
  std::string generation_config = "auto";  // the model's own; "none", or a file or directory
  std::string eos_token_ids = {};          // ids, separated by commas, that end answers beside the model's own
  std::string device = "auto";             // a CUDA device where there is one, else the CPU
  int64_t threads = 0;                     // 0: one per processor that affinity and CPU quota grant
  std::string pin_threads = "auto";        // on, off, or the processors that they stay on
  int64_t max_context_tokens = 0;          // 0: the smaller of the model's and what the cache can hold
  int64_t kv_blocks = 0;                   // 0: from kv_bytes
  int64_t kv_bytes = 0;                    // 0: what max_rows full contexts need, within the memory that is left
  std::string kv_dtype = "auto";           // what the device prefers beside the activations
  std::string activations = "auto";        // fp8 on a GPU where the weights are FP8, else fp32
  std::string speculate = "auto";          // tokens drafted ahead: as many as pay; "off", or so many at most
  PrefixCacheMode prefix_cache = PrefixCacheMode::kOn;
  int64_t max_step_tokens = 0;  // 0: from memory
  double max_step_seconds = 0.1;
  int64_t max_rows = 64;
  int64_t max_started = 0;  // 0: four times max_rows
  int64_t max_queued_requests = 256;
  int64_t max_queued_tokens = 0;  // of prompts; 0: what can be computed in a minute
  double slow_consumer_seconds = 30.0;
  double ageing_seconds = 10.0;
  TenantRules tenants = {};
};

// Which file `generation_config` names.
GenerationSource GenerationSourceOf(const std::string& generation_config);

}  // namespace latentd

#include "server/start/load_choices.h"

#include <string>
#include <utility>

#include <absl/strings/str_cat.h>

#include "server/config/tenants_file.h"

namespace latentd {

absl::StatusOr<LoadOptions> LoadOptionsOf(const Config& config) {
  absl::StatusOr<TenantRules> tenants = ReadTenantsFile(config.tenants);
  if (!tenants.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("tenants: ", std::string(tenants.status().message())));
  }
  return LoadOptions{.model_directory = config.model_directory,
                     .chat_template = config.chat_template,
                     .generation_config = config.generation_config,
                     .eos_token_ids = config.eos_token_ids,
                     .device = config.device,
                     .threads = config.threads,
                     .pin_threads = config.pin_threads,
                     .max_context_tokens = config.max_context_tokens,
                     .kv_blocks = config.kv_blocks,
                     .kv_bytes = config.kv_bytes,
                     .kv_dtype = config.kv_dtype,
                     .activations = config.activations,
                     .speculate = config.speculate,
                     .prefix_cache = config.prefix_cache == "off" ? PrefixCacheMode::kOff : PrefixCacheMode::kOn,
                     .max_step_tokens = config.max_step_tokens,
                     .max_step_seconds = config.max_step_seconds,
                     .max_rows = config.max_rows,
                     .max_started = config.max_started,
                     .max_queued_requests = config.max_queued_requests,
                     .max_queued_tokens = config.max_queued_tokens,
                     .slow_consumer_seconds = config.slow_consumer_seconds,
                     .ageing_seconds = config.ageing_seconds,
                     .tenants = *std::move(tenants)};
}

}  // namespace latentd

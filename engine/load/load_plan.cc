#include "engine/load/load_plan.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_format.h>

#include "engine/load/step_memory.h"
#include "engine/model/latent_cache.h"
#include "engine/schedule/block_id.h"

namespace latentd {

int64_t LoadPlan::slots() const { return int64_t{cache.num_blocks - 1} * kBlockSlots; }

absl::StatusOr<int> MaxContext(const LoadOptions& options, const ModelConfig& config) {
  if (options.max_context_tokens == 0) return config.max_context;
  if (options.max_context_tokens <= config.max_context) return static_cast<int>(options.max_context_tokens);
  return absl::InvalidArgumentError(absl::StrFormat("max-context-tokens=%d is more than the model's %d; lower it",
                                                    options.max_context_tokens, config.max_context));
}

absl::StatusOr<LoadPlan> PlanLoad(const LoadOptions& options, const ModelConfig& config, const Checkpoint& checkpoint,
                                  const ChosenBackend& chosen) {
  if (checkpoint.packed_file() != nullptr && chosen.is_cuda()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("device: expected the CPU, for which %s is packed, found %s; serve the directory that it was "
                        "packed from, or set device=cpu",
                        options.model_directory, chosen.device));
  }
  const absl::StatusOr<int> context = MaxContext(options, config);
  if (!context.ok()) return context.status();
  const absl::StatusOr<Numerics> numerics = ChooseNumerics(options, checkpoint, config, chosen);
  if (!numerics.ok()) return numerics.status();
  const absl::StatusOr<ChosenDrafts> drafts = ChooseDrafts(options, checkpoint);
  if (!drafts.ok()) return drafts.status();
  const auto step_bytes = [&](int tokens) {
    const ModelLimits limits = LimitsFor(options, chosen, *numerics,
                                         {.tokens = tokens, .max_drafts = drafts->max_drafts, .context = *context});
    return StepBytes(options, config, chosen, limits);
  };
  const MemoryFacts memory{.available_bytes = chosen.backend.device->AvailableBytes(),
                           .weight_bytes = checkpoint.tensor_bytes(),
                           .block_bytes = LatentCache::BytesPerBlock(config, drafts->mtp(), numerics->latents),
                           .step_bytes = step_bytes};
  const int step_tokens = StepTokens(options, memory);
  absl::StatusOr<CacheSize> cache = CacheBlocks(options, memory, *context, step_tokens);
  if (!cache.ok()) return cache.status();
  LoadPlan plan{.numerics = *numerics,
                .drafts = *drafts,
                .context = *context,
                .step_tokens = step_tokens,
                .cache = *std::move(cache),
                .available_bytes = memory.available_bytes,
                .weight_bytes = memory.weight_bytes,
                .step_bytes = step_bytes(step_tokens)};
  plan.cache_bytes = static_cast<uint64_t>(plan.cache.num_blocks) * memory.block_bytes;
  // Only an operator who asks for more than the cache holds gets requests that can never fit.
  if (options.max_context_tokens == 0) plan.context = static_cast<int>(std::min<int64_t>(*context, plan.slots()));
  return plan;
}

}  // namespace latentd

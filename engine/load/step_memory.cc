#include "engine/load/step_memory.h"

#include <algorithm>

#include "base/placement.h"
#include "engine/load/sizing.h"
#include "kernels/cpu/scratch_bytes.h"

namespace latentd {
namespace {

// About what a GPU's kernels hold: each token's inputs, gate, up and output once for every expert that it goes to.
uint64_t GpuScratchBytes(const StepLimits& step) {
  const int64_t choices = int64_t{step.max_tokens} * step.experts_per_token;
  return static_cast<uint64_t>(choices * 2 * (step.hidden_size + step.expert_width)) * sizeof(float);
}

}  // namespace

ModelLimits LimitsFor(const LoadOptions& options, const ChosenBackend& chosen, const Numerics& numerics,
                      const StepSizes& sizes) {
  const int rows = chosen.backend.device->PadRows(static_cast<int>(options.max_rows));
  return {.max_tokens = std::max(sizes.tokens, rows),
          .max_rows = rows,
          .max_logit_rows = std::max(MostStepLogits(options, sizes.max_drafts, sizes.tokens), rows),
          .max_context = sizes.context,
          .latents = numerics.latents,
          .activations = numerics.activations,
          .loads_mtp = sizes.max_drafts > 0 ? MtpUse::kDraft : MtpUse::kNone};
}

uint64_t StepBytes(const LoadOptions& options, const ModelConfig& config, const ChosenBackend& chosen,
                   const ModelLimits& limits) {
  const StepLimits step = StepLimitsOf(config, limits, *chosen.backend.ops);
  const auto angles = static_cast<uint64_t>(limits.max_context) * static_cast<uint64_t>(config.attention.rope_width);
  const uint64_t bytes = ActivationMemory::Bytes(config, limits.loads_mtp, step) + angles * sizeof(float);
  if (chosen.is_cuda()) return bytes + GpuScratchBytes(step);
  const int threads =
      cpu::PlaceThreads(options.pin_threads, static_cast<int>(options.threads)).value_or(cpu::Placement()).num_threads;
  return bytes + cpu::ScratchBytes(step, threads);
}

}  // namespace latentd

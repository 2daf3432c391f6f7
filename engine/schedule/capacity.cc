#include "engine/schedule/capacity.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "engine/schedule/block_id.h"

namespace latentd {

CapacityDemand DemandOf(const Request& request, const Capacity& capacity) {
  const auto prompt_tokens = static_cast<int>(request.prompt.size());
  if (request.kind != RequestKind::kGenerate) return {.tokens = prompt_tokens, .blocks = BlocksFor(prompt_tokens)};
  const int64_t asked = static_cast<int64_t>(prompt_tokens) + request.stopping.max_tokens;
  const auto tokens = static_cast<int>(std::min<int64_t>(asked, capacity.max_context_tokens));
  // The last token is sampled but never computed.
  return {.tokens = tokens, .blocks = BlocksFor(tokens - 1)};
}

std::optional<Misfit> FindMisfit(const Request& request, const Capacity& capacity, int least_output) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens < 1) return Misfit{.kind = Misfit::Kind::kNoPrompt};
  if (prompt_tokens + least_output > capacity.max_context_tokens) {
    return Misfit{
        .kind = Misfit::Kind::kContext, .needed = prompt_tokens + least_output, .limit = capacity.max_context_tokens};
  }
  if (request.kind == RequestKind::kGenerate && request.stopping.max_tokens < 1) {
    return Misfit{.kind = Misfit::Kind::kNoOutput};
  }
  const int needed = DemandOf(request, capacity).blocks;
  if (needed <= capacity.num_blocks) return std::nullopt;
  return Misfit{.kind = Misfit::Kind::kBlocks, .needed = needed, .limit = capacity.num_blocks};
}

absl::Status CheckFits(const Request& request, const Capacity& capacity) {
  const bool generates = request.kind == RequestKind::kGenerate;
  const int least_output = generates ? 1 : 0;
  const std::optional<Misfit> misfit = FindMisfit(request, capacity, least_output);
  if (!misfit) return absl::OkStatus();
  switch (misfit->kind) {
    case Misfit::Kind::kNoPrompt:
    case Misfit::Kind::kContext:
      return absl::InvalidArgumentError(
          absl::StrFormat("prompt has %d tokens, expected 1 to %d (max_context_tokens=%d%s); shorten it",
                          request.prompt.size(), capacity.max_context_tokens - least_output,
                          capacity.max_context_tokens, generates ? ", one of them for the output" : ""));
    case Misfit::Kind::kNoOutput:
      return absl::InvalidArgumentError(
          absl::StrFormat("max_tokens=%d, expected at least 1", request.stopping.max_tokens));
    case Misfit::Kind::kBlocks:
      break;
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "prompt of %d tokens and max_tokens=%d need %d cache blocks of %d tokens, the cache has %d; lower max_tokens or "
      "raise kv_blocks",
      request.prompt.size(), request.stopping.max_tokens, misfit->needed, kBlockSlots, misfit->limit));
}

}  // namespace latentd

#include "engine/schedule/capacity.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "engine/schedule/block_pool.h"

namespace latentd {

CapacityDemand DemandOf(const Request& request, const Capacity& capacity) {
  const auto prompt_tokens = static_cast<int>(request.prompt.size());
  if (request.kind != RequestKind::kGenerate) return {.tokens = prompt_tokens, .blocks = BlocksFor(prompt_tokens)};
  const int64_t asked = static_cast<int64_t>(prompt_tokens) + request.stopping.max_tokens;
  const auto tokens = static_cast<int>(std::min<int64_t>(asked, capacity.max_context_tokens));
  // The last token is sampled but never computed.
  return {.tokens = tokens, .blocks = BlocksFor(tokens - 1)};
}

absl::Status CheckFits(const Request& request, const Capacity& capacity) {
  const bool generates = request.kind == RequestKind::kGenerate;
  const int max_prompt = capacity.max_context_tokens - (generates ? 1 : 0);
  const size_t prompt_tokens = request.prompt.size();
  if (prompt_tokens < 1 || prompt_tokens > static_cast<size_t>(max_prompt)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("prompt has %d tokens, expected 1 to %d (max_context_tokens=%d%s); shorten it", prompt_tokens,
                        max_prompt, capacity.max_context_tokens, generates ? ", one of them for the output" : ""));
  }
  if (generates && request.stopping.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_tokens=%d, expected at least 1", request.stopping.max_tokens));
  }
  const int needed = DemandOf(request, capacity).blocks;
  if (needed > capacity.num_blocks) {
    return absl::FailedPreconditionError(
        absl::StrFormat("prompt of %d tokens and max_tokens=%d need %d cache blocks of %d tokens, the cache has %d; "
                        "lower max_tokens or raise kv_blocks",
                        prompt_tokens, request.stopping.max_tokens, needed, kBlockSlots, capacity.num_blocks));
  }
  return absl::OkStatus();
}

}  // namespace latentd

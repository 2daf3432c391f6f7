#include "engine/step/verdict.h"

#include <algorithm>
#include <optional>

#include "engine/step/acceptance.h"
#include "kernels/id_bits.h"

namespace latentd {
namespace {

// Whether the token ends the sequence as the last of num_tokens.
std::optional<FinishReason> EndBy(int32_t id, int num_tokens, const Sequence& sequence, const EndRules& rules) {
  const StoppingRule& stopping = sequence.request.stopping;
  if (!stopping.ignore_eos && HasId(rules.eos_ids, id)) return FinishReason::kEos;
  if (HasId(stopping.stop_token_ids, id)) return FinishReason::kStopToken;
  if (num_tokens - sequence.num_prompt_tokens >= stopping.max_tokens) return FinishReason::kMaxTokens;
  if (num_tokens >= rules.max_context_tokens) return FinishReason::kContextLimit;
  return std::nullopt;
}

}  // namespace

RowVerdict Judge(const PlannedRow& row, std::span<const SampleResult> results, const EndRules& rules) {
  const Sequence& sequence = *row.sequence;
  RowVerdict verdict;
  if (sequence.request.kind != RequestKind::kGenerate) {
    verdict.is_finite = std::ranges::all_of(results, &SampleResult::finite);
    return verdict;
  }
  if (results.empty()) return verdict;
  const int num_right = NumAccepted(sequence.drafts().first(static_cast<size_t>(row.num_drafts)), results);
  for (int i = 0; i <= num_right && verdict.is_finite && !verdict.end; ++i) {
    const SampleResult& result = results[static_cast<size_t>(i)];
    verdict.num_accepted = i;
    verdict.is_finite = result.finite;
    if (result.finite) verdict.end = EndBy(result.id, sequence.num_tokens() + i + 1, sequence, rules);
  }
  return verdict;
}

}  // namespace latentd

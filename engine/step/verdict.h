// What a row of the step gave, judged before anything of it is committed: how many of its drafts hold, and whether the
// token behind them ends the sequence. A pure function of the row, its sequence and what was drawn.
#pragma once

#include <cstdint>
#include <span>

#include "engine/schedule/batch_plan.h"
#include "kernels/batch.h"

namespace latentd {

// What ends a sequence beside its own StoppingRule.
struct EndRules {
  std::span<const int32_t> eos_ids;
  int max_context_tokens = 0;
};

// results are those of the row's logits, in the order of their positions. Nothing counts behind the first draft that is
// wrong, behind an end, or behind logits that are not finite: no step would have computed it without drafts.
RowVerdict Judge(const PlannedRow& row, std::span<const SampleResult> results, const EndRules& rules);

}  // namespace latentd

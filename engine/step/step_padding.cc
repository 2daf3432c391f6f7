#include "engine/step/step_padding.h"

#include <algorithm>

#include "engine/schedule/block_id.h"

namespace latentd {

bool IsDecode(const BatchInputs& inputs) {
  const auto is_decode = [](const BatchRow& row) { return row.num_tokens == 1; };
  return inputs.logit_tokens.size() == inputs.rows.size() &&
         std::all_of(inputs.rows.begin(), inputs.rows.end(), is_decode);
}

void StepPadding::Fill(const BatchInputs& inputs, std::span<const SampleRow> samples, int num_rows) {
  inputs_ = inputs;
  samples_.assign(samples.begin(), samples.end());
  while (static_cast<int>(inputs_.rows.size()) < num_rows) {
    const auto row = static_cast<int32_t>(inputs_.rows.size());
    inputs_.token_ids.push_back(0);
    inputs_.positions.push_back(0);
    inputs_.slots.push_back(kNoSlot);
    inputs_.token_rows.push_back(row);
    inputs_.rows.push_back({.first_token = row,
                            .num_tokens = 1,
                            .first_position = 0,
                            .first_block = static_cast<int>(inputs_.blocks.size())});
    inputs_.blocks.push_back(kScratchBlock);
    inputs_.logit_tokens.push_back(row);
    samples_.push_back({.rule = {.temperature = 0.0f}});
  }
}

}  // namespace latentd

#include "engine/step/step_padding.h"

#include <algorithm>

#include "engine/schedule/block_id.h"

namespace latentd {

int TokensPerRow(const BatchInputs& inputs) {
  if (inputs.rows.empty() || inputs.logit_tokens.size() != inputs.token_ids.size()) return 0;
  const int num_tokens = inputs.rows.front().num_tokens;
  const auto is_equal = [&](const BatchRow& row) { return row.num_tokens == num_tokens; };
  return std::ranges::all_of(inputs.rows, is_equal) ? num_tokens : 0;
}

void StepPadding::Fill(const BatchInputs& inputs, std::span<const SampleRow> samples, int num_rows) {
  const int num_tokens = TokensPerRow(inputs);
  inputs_ = inputs;
  samples_.assign(samples.begin(), samples.end());
  while (static_cast<int>(inputs_.rows.size()) < num_rows) {
    const auto row = static_cast<int32_t>(inputs_.rows.size());
    inputs_.rows.push_back({.first_token = inputs_.num_tokens(),
                            .num_tokens = num_tokens,
                            .first_position = 0,
                            .first_block = static_cast<int>(inputs_.blocks.size())});
    inputs_.blocks.push_back(kScratchBlock);
    for (int i = 0; i < num_tokens; ++i) {
      inputs_.logit_tokens.push_back(inputs_.num_tokens());
      inputs_.token_ids.push_back(0);
      inputs_.positions.push_back(i);
      inputs_.slots.push_back(kNoSlot);
      inputs_.token_rows.push_back(row);
      samples_.push_back({.rule = {.temperature = 0.0f}});
    }
  }
}

}  // namespace latentd

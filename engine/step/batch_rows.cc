#include "engine/step/batch_rows.h"

#include <cstddef>

#include "kernels/cache_block.h"

namespace latentd {

void Clear(BatchInputs& inputs) {
  inputs.copies.clear();
  inputs.token_ids.clear();
  inputs.positions.clear();
  inputs.slots.clear();
  inputs.token_rows.clear();
  inputs.rows.clear();
  inputs.blocks.clear();
  inputs.logit_tokens.clear();
  inputs.hidden_rows.clear();
}

void BeginRow(BatchRow row, std::span<const int32_t> table, BatchInputs& inputs) {
  row.first_token = inputs.num_tokens();
  row.first_block = static_cast<int>(inputs.blocks.size());
  inputs.rows.push_back(row);
  inputs.blocks.insert(inputs.blocks.end(), table.begin(), table.end());
}

void AddToken(int32_t id, BatchInputs& inputs) {
  const BatchRow& row = inputs.rows.back();
  const int position = row.first_position + inputs.num_tokens() - row.first_token;
  const int32_t block = inputs.blocks[static_cast<size_t>(row.first_block + position / kBlockSlots)];
  inputs.token_ids.push_back(id);
  inputs.positions.push_back(position);
  inputs.slots.push_back(block * kBlockSlots + position % kBlockSlots);
  inputs.token_rows.push_back(static_cast<int32_t>(inputs.rows.size()) - 1);
}

}  // namespace latentd

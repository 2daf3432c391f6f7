// Steps for tests of verbs that look at each token by itself: every token is a row of its own.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/batch.h"

namespace latentd {

inline BatchInputs TokensAt(std::vector<int32_t> positions, std::vector<int32_t> slots) {
  BatchInputs inputs;
  for (const int32_t position : positions) {
    const int token = inputs.num_tokens();
    inputs.token_ids.push_back(0);
    inputs.token_rows.push_back(token);
    inputs.rows.push_back({.first_token = token, .num_tokens = 1, .first_position = position, .first_block = token});
    inputs.blocks.push_back(0);
  }
  inputs.positions = std::move(positions);
  inputs.slots = std::move(slots);
  return inputs;
}

inline BatchInputs TokensAt(std::vector<int32_t> positions) {
  std::vector<int32_t> slots(positions.size(), kNoSlot);
  return TokensAt(std::move(positions), std::move(slots));
}

inline BatchInputs TokensWithIds(std::vector<int32_t> ids) {
  BatchInputs inputs = TokensAt(std::vector<int32_t>(ids.size(), 0));
  inputs.token_ids = std::move(ids);
  return inputs;
}

}  // namespace latentd

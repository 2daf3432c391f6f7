// Outputs of steps as the engine would make them, for tests that have none.
#pragma once

#include <cstdint>
#include <span>

#include "engine/step/step_output.h"

namespace latentd {

// One sequence's tokens.
inline StepOutput OutputOf(RequestId id, std::span<const int32_t> ids) {
  StepOutput output;
  for (const int32_t token : ids) output.tokens.emplace_back().id = token;
  output.sequences.push_back({.id = {.request = id}, .num_tokens = static_cast<int>(ids.size())});
  return output;
}

}  // namespace latentd

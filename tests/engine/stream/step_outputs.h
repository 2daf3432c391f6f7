// Outputs of steps as the engine would make them, for tests that have none.
#pragma once

#include <cstdint>
#include <span>

#include "engine/step/step_output.h"

namespace latentd {

// Another sequence's tokens.
inline void AddTokens(SequenceId id, std::span<const int32_t> ids, StepOutput& output) {
  const auto first_token = static_cast<int>(output.tokens.size());
  for (const int32_t token : ids) output.tokens.emplace_back().id = token;
  output.sequences.push_back({.id = id, .first_token = first_token, .num_tokens = static_cast<int>(ids.size())});
}

// One sequence's tokens.
inline StepOutput OutputOf(RequestId id, std::span<const int32_t> ids) {
  StepOutput output;
  AddTokens({.request = id}, ids, output);
  return output;
}

}  // namespace latentd

// The paper in double: one sequence, no cache, no batching, attention in its expanded form (docs/spec/deepseek.md 3.3,
// naive). The oracle of the forward pass; slow on purpose, shares no arithmetic with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace latentd::reference {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

struct ExpertChoice {
  int expert = 0;
  double weight = 0.0;  // scaling included
};

struct ForwardResult {
  Rows logits;                                                  // [T][V]
  Rows hidden;                                                  // [T][d], after the last norm
  std::vector<std::vector<std::vector<ExpertChoice>>> experts;  // [expert layer][T][K], ascending id
  // The smallest distance of a chosen score (of a group or an expert) to one not chosen: where it is tiny, two correct
  // engines may choose differently.
  double smallest_routing_margin = 0.0;
};

ForwardResult Forward(const Checkpoint& checkpoint, const ModelConfig& config, std::span<const int32_t> ids);

}  // namespace latentd::reference

// Rotary frequencies and the scales that YaRN brings along (docs/spec/deepseek.md 3.4), in double.
#pragma once

#include <optional>
#include <vector>

#include "kernels/tensor.h"

namespace latentd {

// docs/spec/deepseek.md 3.4
struct YarnScaling {
  double factor = 1.0;
  int original_context = 0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 0.0;  // 0 where the file has none
  double mscale_all_dim = 0.0;
  bool operator==(const YarnScaling&) const = default;
};

struct RopeFacts {
  double theta = 10000.0;
  std::optional<YarnScaling> yarn;
  RopePairs pairs = RopePairs::kAdjacent;
  bool operator==(const RopeFacts&) const = default;
};

// ω' of each pair, [rope_width / 2], in radians per position.
std::vector<double> RopeFrequencies(const AttentionShape& attention, const RopeFacts& rope);

// Factor of cosines and sines; 1 for all released models.
double RopeAmplitude(const RopeFacts& rope);

// Cosines, then sines, of every position, [max_positions, rope_width]. As in the references the angle is the fp32
// product of the position and the fp32 frequency; only cosine and sine of it are taken in double.
std::vector<float> RopeAngles(const AttentionShape& attention, const RopeFacts& rope, int max_positions);

// σ: the factor of q·k before the softmax.
double SoftmaxScale(const AttentionShape& attention, const RopeFacts& rope);

}  // namespace latentd

// Rotary frequencies and the scales that YaRN brings along (spec 3.4), in double.
#pragma once

#include <vector>

#include "engine/model/model_config.h"

namespace latentd {

// ω' of each pair, [rope_width / 2], in radians per position.
std::vector<double> RopeFrequencies(const ModelConfig& config);

// What cosines and sines are multiplied by; 1 for all released models.
double RopeAmplitude(const RopeFacts& rope);

// σ: what q·k is multiplied by before the softmax.
double SoftmaxScale(const AttentionShape& attention, const RopeFacts& rope);

}  // namespace latentd

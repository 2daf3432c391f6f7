// Rotary frequencies and the scales that YaRN brings along (docs/spec/deepseek.md 3.4), in double.
#pragma once

#include <vector>

#include "engine/model/config/model_config.h"

namespace latentd {

// ω' of each pair, [rope_width / 2], in radians per position.
std::vector<double> RopeFrequencies(const ModelConfig& config);

// Factor of cosines and sines; 1 for all released models.
double RopeAmplitude(const RopeFacts& rope);

// Cosines, then sines, of every position, [max_positions, rope_width]. As in the references the angle is the fp32
// product of the position and the fp32 frequency; only cosine and sine of it are taken in double.
std::vector<float> RopeAngles(const ModelConfig& config, int max_positions);

// σ: the factor of q·k before the softmax.
double SoftmaxScale(const AttentionShape& attention, const RopeFacts& rope);

}  // namespace latentd

// The passes of sampling over a whole row of logits that are worth vectors. Bits as everywhere: the same on all
// targets.
#pragma once

#include <span>

namespace latentd::cpu {

bool AllFinite(std::span<const float> values);

// The largest value; meaningless where one is NaN.
float Largest(std::span<const float> values);

// Σ exp(value - largest): fp32 inside chunks of 256 values, fp64 over the chunks, ascending.
double SumOfExp(std::span<const float> values, float largest);

// weights[i] = exp((values[i] - largest) / temperature).
void ExpWeights(std::span<const float> values, float largest, float temperature, std::span<float> weights);

}  // namespace latentd::cpu

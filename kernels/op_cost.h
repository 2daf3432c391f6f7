// What a verb has to do, from its operands alone: the figures of profiles and of the bench, beside which a machine's
// ceilings can be held.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/batch.h"
#include "kernels/tensor.h"

namespace latentd {

struct OpCost {
  // That must come from memory: weights and cached latents, each once; for a verb that reads neither, its operands.
  double bytes = 0.0;
  double flops = 0.0;       // multiplications and additions of its products; 0 for a verb without any
  double bf16_flops = 0.0;  // those with bf16 weights, but for the router's, whose inputs are never rounded
  double e4m3_flops = 0.0;  // the same with E4M3 weights

  OpCost& operator+=(const OpCost& other) {
    bytes += other.bytes;
    flops += other.flops;
    bf16_flops += other.bf16_flops;
    e4m3_flops += other.e4m3_flops;
    return *this;
  }
};

// A weight as the checkpoint stores it, scales included.
struct WeightSize {
  double bytes = 0.0;
  double values = 0.0;
  double bf16_values = 0.0;  // those that OpCost counts by type
  double e4m3_values = 0.0;

  WeightSize& operator+=(const WeightSize& other) {
    bytes += other.bytes;
    values += other.values;
    bf16_values += other.bf16_values;
    e4m3_values += other.e4m3_values;
    return *this;
  }
};
WeightSize WeightSizeOf(const MatrixSource& source);
WeightSize WeightSizeOf(const ExpertSource& source);

struct ExpertSizes {
  std::vector<WeightSize> routed;
  WeightSize shared;
};

OpCost LinearCost(const WeightSize& weight, int rows);
// Touched experts count alone; routing lies in the host's memory.
OpCost MixCost(const ExpertSizes& experts, const Routing& routing);
// A block that several rows share counts once; the batch lies in the host's memory.
OpCost AttendCost(const WeightSize& key_value_up, const AttentionShape& shape, const Batch& batch,
                  const LatentPages& pages);
// Values that are read and written in fp32.
OpCost ElementCost(double values);

}  // namespace latentd

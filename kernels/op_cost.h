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
  double flops = 0.0;  // multiplications and additions of its products; 0 for a verb without any

  OpCost& operator+=(const OpCost& other) {
    bytes += other.bytes;
    flops += other.flops;
    return *this;
  }
};

// A weight as the checkpoint stores it, scales included.
struct WeightSize {
  double bytes = 0.0;
  double values = 0.0;

  WeightSize& operator+=(const WeightSize& other) {
    bytes += other.bytes;
    values += other.values;
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

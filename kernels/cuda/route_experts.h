// RouteExperts of kernels/ops.h. Nothing waits.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

inline constexpr int kMaxRoutedExperts = 512;
inline constexpr int kMaxExpertsPerToken = 32;
static_assert(kMostExperts <= kMaxRoutedExperts && kMostExpertsPerToken <= kMaxExpertsPerToken);

// bias [num_experts] may be null.
void RouteExperts(cudaStream_t stream, Tensor logits, const float* bias, const RoutingRule& rule,
                  const Routing& routing);

}  // namespace latentd::cuda

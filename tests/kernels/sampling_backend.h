// A backend with memory for sampling alone.
#pragma once

#include <utility>

#include <gtest/gtest.h>

#include "kernels/backend.h"

namespace latentd {

inline Backend MakeSamplingBackend(int num_threads, size_t vocab) {
  Backend backend = MakeCpuBackend(num_threads).value();
  StepLimits limits;
  limits.max_tokens = limits.max_context = limits.max_linear_inputs = 1;
  limits.max_logit_rows = 64;
  limits.vocab_size = static_cast<int>(vocab);
  limits.attention = {.num_heads = 1, .nope_width = 1, .rope_width = 2, .value_width = 1, .latent_width = 1};
  limits.experts_per_token = limits.expert_width = 1;
  EXPECT_TRUE(backend.ops->Reserve(limits).ok());
  return backend;
}

}  // namespace latentd

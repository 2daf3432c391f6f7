// A backend with memory for sampling alone.
#pragma once

#include <span>
#include <utility>
#include <vector>

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

// What the rows get from logits [rows, vocab].
inline std::vector<SampleResult> SampleOn(Ops& ops, Tensor logits, std::span<const SampleRow> rows) {
  BatchInputs inputs;
  inputs.logit_tokens.resize(rows.size());
  std::vector<SampleResult> results(rows.size());
  ops.Sample(ops.Upload(inputs, rows), logits);
  ops.Collect(results);
  return results;
}

}  // namespace latentd

// The model that the bench makes for itself: three layers of DeepSeek-V2-Lite's shape, 1.38 B parameters, of which a
// token uses 312.8 M.
#pragma once

#include "kernels/tensor.h"

namespace latentd {

struct BenchShape {
  int num_layers = 3;
  int num_dense_layers = 1;  // the first ones
  int num_mtp_layers = 0;
  int hidden_size = 2048;
  int dense_width = 10944;
  int num_experts = 64;
  int expert_width = 1408;
  int experts_per_token = 6;
  int num_shared_experts = 2;
  int vocab_size = 32000;
  int max_context = 16384;
  AttentionShape attention = {
      .num_heads = 16, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};

  int shared_width() const { return num_shared_experts * expert_width; }
};

// Six of such layers and one that predicts further tokens: 4.0 B parameters, of which a token of the model uses 511 M.
inline BenchShape SpeculationShape() { return {.num_layers = 6, .num_mtp_layers = 1}; }

// As many layers as V2-Lite has, each as its first one: about as many weights for a token, but the same ones for all.
// So a step that verifies drafts reads no more than one that does not.
inline BenchShape DenseSpeculationShape() { return {.num_layers = 27, .num_dense_layers = 27, .num_mtp_layers = 1}; }

// Large enough that each verb has its shape, small enough for a test.
inline BenchShape TinyShape() {
  return {.hidden_size = 256,
          .dense_width = 384,
          .num_experts = 8,
          .expert_width = 128,
          .experts_per_token = 2,
          .vocab_size = 512,
          .attention = {.num_heads = 2, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 128}};
}

inline BenchShape TinySpeculationShape() {
  BenchShape shape = TinyShape();
  shape.num_mtp_layers = 1;
  return shape;
}

}  // namespace latentd

// MixExperts: the routed experts of each row by grouped products, then the shared one. The host never learns which
// experts were chosen: launches depend on the number of rows only.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/cuda/fragments.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/packed.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

inline constexpr int kMaxExperts = 512;

struct ExpertLimits {
  int max_tokens = 0;
  int experts_per_token = 0;
  int hidden = 0;
  int width = 0;         // of a routed expert
  int shared_width = 0;  // 0 where there is none
  bool activation_codes = false;
};

// Memory for one MixExperts at a time. More than max_rows rows are mixed in several passes.
struct ExpertScratch {
  int max_rows = 0;
  std::byte* fragments = nullptr;   // of x, then of the hidden layer
  Tensor gate, up;                  // [choices, width], in the order of the experts
  Tensor down;                      // [choices, hidden]: a row's choices by ascending expert
  Tensor shared_gate, shared_up;    // [rows, shared width]
  Tensor shared_down;               // [rows, hidden]
  uint8_t* hidden_codes = nullptr;  // of the hidden layer at hand, as in Activation; null: there is no room
  float* hidden_scales = nullptr;
  RowTile* tiles = nullptr;  // [choices]
  int* num_tiles = nullptr;
  int* x_rows = nullptr;     // [choices] for gate and up
  int* out_rows = nullptr;   // [choices] for down
  float* weights = nullptr;  // [choices] in the order of down
};

size_t ExpertScratchBytes(const ExpertLimits& limits);
ExpertScratch ExpertScratchAt(std::byte* memory, const ExpertLimits& limits);

void MixExperts(cudaStream_t stream, const Activation& x, const Routing& routing, const ExpertsView& experts,
                const ExpertScratch& scratch, Tensor out);

}  // namespace latentd::cuda

// The greedy choice of a token per row of logits, and whether the row is fit to choose from.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/tensor.h"

namespace latentd::cuda {

struct GreedyChoice {
  int32_t id = -1;     // of the largest logit, ties to the lower id; -1 where finite is 0
  int32_t finite = 0;  // 0: the row holds a NaN or an infinity, or no id may be chosen
};

inline constexpr int kGreedyIdsPerPart = 8192;
constexpr int NumGreedyParts(int vocab) { return (vocab + kGreedyIdsPerPart - 1) / kGreedyIdsPerPart; }

// logits [rows, vocab]; has_token [vocab] is 0 for ids that are never chosen, null where all may be; parts is scratch
// [rows, NumGreedyParts(vocab)]; choices [rows].
void ChooseGreedy(cudaStream_t stream, Tensor logits, const uint8_t* has_token, uint64_t* parts, GreedyChoice* choices);

}  // namespace latentd::cuda

// The largest logit of each row, in two levels: a block finds the best of 8192 ids, a warp per row the best of those.
//
// Value and id become one ordered 64-bit key, so that "better" is "greater" and the order of comparing decides nothing.
// A logit that is not finite has a key above all others: it wins and shows that the row is unfit.
//
// Bytes per row: 4 * vocab, and vocab for has_token, which stays in L2. Bound: memory for many rows (129,280 ids: 517
// KB, 155 ns of 3.35 TB/s); latency, two launches of 2 to 3 us, for few.
#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/greedy.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row.cuh"

namespace latentd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr uint64_t kNothing = 0;
constexpr uint64_t kUnfit = ~uint64_t{0};

// Greater for a greater logit, then for a lower id.
__device__ __forceinline__ uint64_t KeyOf(float logit, int id) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 becomes +0: the two are a tie
  const uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | ~static_cast<uint32_t>(id);
}

// The best of `best` and of one id more, which has to lie in front of the row's end.
__device__ __forceinline__ uint64_t Better(uint64_t best, float logit, int id, const uint8_t* has_token) {
  if (!(fabsf(logit) < __int_as_float(0x7f800000))) return kUnfit;
  if (has_token != nullptr && has_token[id] == 0) return best;
  return max(best, KeyOf(logit, id));
}

__device__ __forceinline__ uint64_t WarpMax(uint64_t key) {
#pragma unroll
  for (int apart = kWarpLanes / 2; apart > 0; apart /= 2) key = max(key, __shfl_xor_sync(kAllLanes, key, apart));
  return key;
}

template <int kVector>
__global__ void __launch_bounds__(kThreads) BestOfParts(Tensor logits, const uint8_t* has_token, uint64_t* parts) {
  __shared__ uint64_t bests[kWarps];
  const int row = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y);
  const int end = min((part + 1) * kGreedyIdsPerPart, logits.width);
  const float* values = RowOf(logits, row);
  uint64_t best = kNothing;
  for (int id = part * kGreedyIdsPerPart + static_cast<int>(threadIdx.x) * kVector; id < end;
       id += kThreads * kVector) {
    if constexpr (kVector == 4) {
      const float4 four = *reinterpret_cast<const float4*>(values + id);
      best = Better(best, four.x, id, has_token);
      best = Better(best, four.y, id + 1, has_token);
      best = Better(best, four.z, id + 2, has_token);
      best = Better(best, four.w, id + 3, has_token);
    } else {
      best = Better(best, values[id], id, has_token);
    }
  }
  best = WarpMax(best);
  if (Lane() == 0) bests[Warp()] = best;
  __syncthreads();
  if (Warp() != 0) return;
  best = WarpMax(Lane() < kWarps ? bests[Lane()] : kNothing);
  if (Lane() == 0) parts[static_cast<int64_t>(row) * gridDim.y + part] = best;
}

__global__ void __launch_bounds__(kWarpLanes) BestOfRows(const uint64_t* parts, int num_parts, GreedyChoice* choices) {
  const int row = static_cast<int>(blockIdx.x);
  uint64_t best = kNothing;
  for (int part = Lane(); part < num_parts; part += kWarpLanes) {
    best = max(best, parts[static_cast<int64_t>(row) * num_parts + part]);
  }
  best = WarpMax(best);
  const bool fit = best != kUnfit && best != kNothing;
  if (Lane() == 0) choices[row] = {fit ? static_cast<int32_t>(~static_cast<uint32_t>(best)) : -1, fit ? 1 : 0};
}

}  // namespace

void ChooseGreedy(cudaStream_t stream, Tensor logits, const uint8_t* has_token, uint64_t* parts,
                  GreedyChoice* choices) {
  CHECK_GT(logits.width, 0);
  if (logits.rows == 0) return;
  const auto rows = static_cast<unsigned>(logits.rows);
  const int num_parts = NumGreedyParts(logits.width);
  const auto kernel = logits.width % 4 == 0 ? BestOfParts<4> : BestOfParts<1>;
  kernel<<<dim3(rows, static_cast<unsigned>(num_parts)), kThreads, 0, stream>>>(logits, has_token, parts);
  CheckLaunch("BestOfParts");
  BestOfRows<<<rows, kWarpLanes, 0, stream>>>(parts, num_parts, choices);
  CheckLaunch("BestOfRows");
}

}  // namespace latentd::cuda

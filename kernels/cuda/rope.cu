// RotateQueries and AppendLatent: what depends on a token's position.
//
// RotateQueries turns one head per warp, 8 heads per block, a pair per lane at a time. AppendLatent gives a block of
// 128 threads to a token: it rotates the shared key part, norms the latent in the fixed order of BlockSum, and stores
// both as bf16, with zeros behind them up to the slot's stride.
//
// Bytes per token: RotateQueries 8 * heads * rope_width and the angles; AppendLatent 8 * latent (the second reading
// from L1) + 4 * rope, then 2 * slot_stride written. Bound: latency; for a prompt's chunk memory.
#include <cstdint>

#include "kernels/check.h"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kHeadsPerBlock = 8;
constexpr int kAppendThreads = 128;
constexpr int kAppendWarps = kAppendThreads / kWarpLanes;

struct Pair {
  int first = 0, second = 0;  // which values
};

__device__ __forceinline__ Pair PairAt(RopePairs pairs, int index, int half) {
  return pairs == RopePairs::kAdjacent ? Pair{2 * index, 2 * index + 1} : Pair{index, index + half};
}

// angles holds `half` cosines, then as many sines.
__device__ __forceinline__ float2 Rotated(const float* angles, int index, int half, float first, float second) {
  const float cosine = angles[index], sine = angles[half + index];
  return {fmaf(first, cosine, -(second * sine)), fmaf(first, sine, second * cosine)};
}

__global__ void __launch_bounds__(kHeadsPerBlock* kWarpLanes)
    RotateHeads(const int32_t* positions, RopeTable rope, AttentionShape shape, Tensor q) {
  const int token = static_cast<int>(blockIdx.x), half = shape.rope_width / 2;
  const int head = static_cast<int>(blockIdx.y) * kHeadsPerBlock + Warp();
  if (head >= shape.num_heads) return;
  const float* angles = RowOf(rope.angles, positions[token]);
  float* values = RowOf(q, token) + head * (shape.nope_width + shape.rope_width) + shape.nope_width;
  for (int i = Lane(); i < half; i += kWarpLanes) {
    const Pair pair = PairAt(rope.pairs, i, half);
    const float2 rotated = Rotated(angles, i, half, values[pair.first], values[pair.second]);
    values[pair.first] = rotated.x;
    values[pair.second] = rotated.y;
  }
}

__device__ __forceinline__ uint16_t Bf16(float value) { return static_cast<uint16_t>(CvtRnBf16x2F32(0.0f, value)); }

__device__ __forceinline__ void AppendKey(const float* from, const float* angles, RopePairs pairs, int rope_width,
                                          uint16_t* key) {
  const int half = rope_width / 2;
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kAppendThreads) {
    const Pair pair = PairAt(pairs, i, half);
    const float2 rotated = Rotated(angles, i, half, from[pair.first], from[pair.second]);
    key[pair.first] = Bf16(rotated.x);
    key[pair.second] = Bf16(rotated.y);
  }
}

template <int kVector>
__global__ void __launch_bounds__(kAppendThreads)
    AppendTokens(Tensor kv, const float* weight, float epsilon, const int32_t* positions, const int32_t* slots,
                 RopeTable rope, LatentPages pages) {
  __shared__ float sums[kAppendWarps];
  const int token = static_cast<int>(blockIdx.x), slot = slots[token], width = pages.latent_width;
  if (slot < 0) return;
  const float* from = RowOf(kv, token);
  uint16_t* to = static_cast<uint16_t*>(pages.values) + static_cast<int64_t>(slot) * pages.slot_stride;
  AppendKey(from + width, RowOf(rope.angles, positions[token]), rope.pairs, pages.rope_width, to + width);
  for (int i = width + pages.rope_width + static_cast<int>(threadIdx.x); i < pages.slot_stride; i += kAppendThreads) {
    to[i] = 0;
  }
  float squares = 0.0f;
  for (int group = Warp(); group < NumGroups(width); group += kAppendWarps) {
    squares = AddSquares(LoadFour<kVector>(from, LaneColumn(group), width), squares);
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, sums) / static_cast<float>(width) + epsilon);
  for (int group = Warp(); group < NumGroups(width); group += kAppendWarps) {
    const int column = LaneColumn(group);
    const float4 four = LoadFour<kVector>(from, column, width), by = LoadFour<kVector>(weight, column, width);
    StoreFourBf16<kVector>({four.x * scale * by.x, four.y * scale * by.y, four.z * scale * by.z, four.w * scale * by.w},
                           to, column, width);
  }
}

}  // namespace

void RotateQueries(cudaStream_t stream, const int32_t* positions, const RopeTable& rope, const AttentionShape& shape,
                   Tensor q) {
  CHECK_EQ(q.width, shape.num_heads * shape.query_width());
  CHECK_EQ(rope.angles.width, shape.rope_width);
  if (q.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(q.rows),
                  static_cast<unsigned>((shape.num_heads + kHeadsPerBlock - 1) / kHeadsPerBlock));
  RotateHeads<<<grid, kHeadsPerBlock * kWarpLanes, 0, stream>>>(positions, rope, shape, q);
  CheckLaunch("RotateHeads");
}

void AppendLatent(cudaStream_t stream, Tensor kv, const float* weight, float epsilon, const int32_t* positions,
                  const int32_t* slots, const RopeTable& rope, const LatentPages& pages) {
  CHECK_EQ(kv.width, pages.latent_width + pages.rope_width);
  CHECK_EQ(rope.angles.width, pages.rope_width);
  CHECK(pages.dtype == DType::kBf16 && pages.slot_stride % 8 == 0);
  if (kv.rows == 0) return;
  const auto kernel = pages.latent_width % 4 == 0 ? AppendTokens<4> : AppendTokens<1>;
  kernel<<<static_cast<unsigned>(kv.rows), kAppendThreads, 0, stream>>>(kv, weight, epsilon, positions, slots, rope,
                                                                        pages);
  CheckLaunch("AppendTokens");
}

}  // namespace latentd::cuda

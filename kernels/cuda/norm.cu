// RmsNorm and AddRmsNorm, with or without FP8 codes of the result.
//
// One block of 256 threads per row. A row of up to 8192 values stays in registers between the sum of squares and the
// product; of a longer one the rest is read again, from L1. Lanes add their squares in ascending columns, then a tree
// over the warp, then the warps ascending: the order depends on the width alone.
//
// Bytes per row of w values: read 4w (8w with delta) and 4w of weights that stay in L2, write 4w (8w), codes w + w/32.
// 4w FLOPs. Bound: memory for many rows (7168 wide: 57 KB, 17 ns of 3.35 TB/s each); latency, 2 to 3 us, for few.
#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kKeptGroups = 8;  // of 128 values, per warp

__device__ __forceinline__ float4 Sum(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

template <int kVector>
__device__ __forceinline__ void StoreNormed(float4 four, float scale, const float* weight, const Activation& out,
                                            int row, int group) {
  const int column = LaneColumn(group), width = out.values.width;
  const float4 by = LoadFour<kVector>(weight, column, width);
  four = {four.x * scale * by.x, four.y * scale * by.y, four.z * scale * by.z, four.w * scale * by.w};
  StoreFour<kVector>(four, RowOf(out.values, row), column, width);
  if (out.codes != nullptr) StoreCodes(four, out, row, group);
}

// delta.values is null for RmsNorm.
template <int kVector>
__global__ void __launch_bounds__(kThreads)
    RmsNormRows(Tensor x, Tensor delta, const float* weight, float epsilon, Activation out) {
  __shared__ float sums[kWarps];
  const int row = static_cast<int>(blockIdx.x), groups = NumGroups(x.width);
  float* from = RowOf(x, row);
  const float* add = delta.values == nullptr ? nullptr : RowOf(delta, row);
  // Loading, adding and storing are apart: no load has to wait for a store that might have changed its source.
  float4 kept[kKeptGroups];
#pragma unroll
  for (int i = 0; i < kKeptGroups; ++i) kept[i] = LoadFour<kVector>(from, LaneColumn(Warp() + i * kWarps), x.width);
  if (add != nullptr) {
#pragma unroll
    for (int i = 0; i < kKeptGroups; ++i) {
      kept[i] = Sum(kept[i], LoadFour<kVector>(add, LaneColumn(Warp() + i * kWarps), x.width));
    }
#pragma unroll
    for (int i = 0; i < kKeptGroups; ++i) {
      StoreFour<kVector>(kept[i], from, LaneColumn(Warp() + i * kWarps), x.width);
    }
  }
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kKeptGroups; ++i) squares = AddSquares(kept[i], squares);
  for (int group = Warp() + kKeptGroups * kWarps; group < groups; group += kWarps) {
    float4 four = LoadFour<kVector>(from, LaneColumn(group), x.width);
    if (add != nullptr) {
      four = Sum(four, LoadFour<kVector>(add, LaneColumn(group), x.width));
      StoreFour<kVector>(four, from, LaneColumn(group), x.width);
    }
    squares = AddSquares(four, squares);
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, sums) / static_cast<float>(x.width) + epsilon);
#pragma unroll
  for (int i = 0; i < kKeptGroups; ++i) {
    const int group = Warp() + i * kWarps;
    if (group < groups) StoreNormed<kVector>(kept[i], scale, weight, out, row, group);
  }
  for (int group = Warp() + kKeptGroups * kWarps; group < groups; group += kWarps) {
    StoreNormed<kVector>(LoadFour<kVector>(from, LaneColumn(group), x.width), scale, weight, out, row, group);
  }
}

}  // namespace

void RmsNorm(cudaStream_t stream, Tensor x, const float* weight, float epsilon, const Activation& out) {
  AddRmsNorm(stream, x, Tensor{}, weight, epsilon, out);
}

void AddRmsNorm(cudaStream_t stream, Tensor x, Tensor delta, const float* weight, float epsilon,
                const Activation& out) {
  CHECK(out.values.rows == x.rows && out.values.width == x.width);
  CHECK(delta.values == nullptr || (delta.rows == x.rows && delta.width == x.width));
  if (x.rows == 0) return;
  const auto kernel = x.width % 4 == 0 ? RmsNormRows<4> : RmsNormRows<1>;
  kernel<<<static_cast<unsigned>(x.rows), kThreads, 0, stream>>>(x, delta, weight, epsilon, out);
  CheckLaunch("RmsNormRows");
}

}  // namespace latentd::cuda

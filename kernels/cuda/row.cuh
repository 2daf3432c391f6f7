// How the row kernels walk over a row of fp32 values: in aligned groups of 128, a group per warp at a time, four values
// per lane. So a warp holds exactly what shares an FP8 scale, and loops over groups are the same for all its lanes.
#pragma once

#include "kernels/cuda/ptx.cuh"
#include "kernels/tensor.h"

namespace latentd::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr int kLaneValues = 4;
inline constexpr unsigned kAllLanes = 0xffffffffu;
static_assert(kWarpLanes * kLaneValues == kCodeGroup);

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
__device__ __forceinline__ int Warp() { return static_cast<int>(threadIdx.x) / kWarpLanes; }

// First of the four columns that this lane holds of a group.
__device__ __forceinline__ int LaneColumn(int group) { return group * kCodeGroup + Lane() * kLaneValues; }

__host__ __device__ constexpr int NumGroups(int width) { return (width + kCodeGroup - 1) / kCodeGroup; }

__device__ __forceinline__ float* RowOf(const Tensor& tensor, int row) {
  return tensor.values + static_cast<int64_t>(row) * tensor.stride;
}

// Four values from `column` on, zeros behind the width. kVector is how many of them are accessed at once: 4 where the
// width is a multiple of 4, else 1. Rows are 16-byte aligned; nothing behind the width is touched.
template <int kVector>
__device__ __forceinline__ float4 LoadFour(const float* row, int column, int width) {
  float4 four = {0.0f, 0.0f, 0.0f, 0.0f};
  if constexpr (kVector == 4) {
    if (column < width) four = *reinterpret_cast<const float4*>(row + column);
  } else {
    if (column < width) four.x = row[column];
    if (column + 1 < width) four.y = row[column + 1];
    if (column + 2 < width) four.z = row[column + 2];
    if (column + 3 < width) four.w = row[column + 3];
  }
  return four;
}

template <int kVector>
__device__ __forceinline__ void StoreFour(float4 four, float* row, int column, int width) {
  if constexpr (kVector == 4) {
    if (column < width) *reinterpret_cast<float4*>(row + column) = four;
  } else {
    if (column < width) row[column] = four.x;
    if (column + 1 < width) row[column + 1] = four.y;
    if (column + 2 < width) row[column + 2] = four.z;
    if (column + 3 < width) row[column + 3] = four.w;
  }
}

// The same as bf16, nearest even.
template <int kVector>
__device__ __forceinline__ void StoreFourBf16(float4 four, uint16_t* row, int column, int width) {
  const uint2 halves = {CvtRnBf16x2F32(four.y, four.x), CvtRnBf16x2F32(four.w, four.z)};
  if constexpr (kVector == 4) {
    if (column < width) *reinterpret_cast<uint2*>(row + column) = halves;
  } else {
    if (column < width) row[column] = static_cast<uint16_t>(halves.x);
    if (column + 1 < width) row[column + 1] = static_cast<uint16_t>(halves.x >> 16);
    if (column + 2 < width) row[column + 2] = static_cast<uint16_t>(halves.y);
    if (column + 3 < width) row[column + 3] = static_cast<uint16_t>(halves.y >> 16);
  }
}

__device__ __forceinline__ float AddSquares(float4 four, float sum) {
  sum = fmaf(four.x, four.x, sum);
  sum = fmaf(four.y, four.y, sum);
  sum = fmaf(four.z, four.z, sum);
  return fmaf(four.w, four.w, sum);
}

// The sum over the block, for all its threads, in an order that only kWarps decides. `sums` is shared memory that
// nothing else uses: slower warps read it after others have returned.
template <int kWarps>
__device__ __forceinline__ float BlockSum(float value, float (&sums)[kWarps]) {
#pragma unroll
  for (int apart = kWarpLanes / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(kAllLanes, value, apart);
  if (Lane() == 0) sums[Warp()] = value;
  __syncthreads();
  float sum = sums[0];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) sum += sums[warp];
  return sum;
}

// A group's scale (docs/spec/deepseek.md 4.3) is max(amax, kSmallestPeak) / kLargestCode or, for ue8m0, the next power
// of two.
constexpr float kSmallestPeak = 1e-4f;
constexpr float kLargestCode = 448.0f;

// The exponent field, one more unless the scale is a power of two already; infinity stays.
__device__ __forceinline__ float UpToPowerOfTwo(float scale) {
  return __uint_as_float((__float_as_uint(scale) + 0x7fffffu) & 0xff800000u);
}

// The codes of four values that were divided by their scale.
__device__ __forceinline__ uint32_t CodesOf(float4 four) {
  const uint32_t low = CvtRnSatfiniteE4m3x2F32(four.y, four.x), high = CvtRnSatfiniteE4m3x2F32(four.w, four.z);
  return low | high << 16;
}

// Codes and scale of a group that the whole warp holds. Values behind the width are zero, and so are their codes.
__device__ __forceinline__ void StoreCodes(float4 four, const Activation& out, int row, int group) {
  const float peak =
      fmaxf(fmaxf(fmaxf(fabsf(four.x), fabsf(four.y)), fmaxf(fabsf(four.z), fabsf(four.w))), kSmallestPeak);
  // Positive floats are ordered as their bits are.
  float scale = __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(peak))) / kLargestCode;
  if (out.scale_format == ScaleFormat::kUe8m0) scale = UpToPowerOfTwo(scale);
  const int64_t at = static_cast<int64_t>(row) * NumGroups(out.values.width) + group;
  reinterpret_cast<uint32_t*>(out.codes + at * kCodeGroup)[Lane()] =
      CodesOf({four.x / scale, four.y / scale, four.z / scale, four.w / scale});
  if (Lane() == 0) out.scales[at] = scale;
}

}  // namespace latentd::cuda

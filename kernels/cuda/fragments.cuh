// Activations as products read them, in blocks of 128 inputs. A block is 32 quads of four consecutive inputs, stored
// in the order in which the lanes of a warp want them: quad 4*i + c goes to lanes with lane % 4 == c in step i of eight
// (one mma of 16 inputs each). Lane c reads a weight in pieces of 16 bytes, 64 bytes apart, which gives step i the
// inputs below. For tensor cores a quad becomes four high halves, then four low halves: together 16 bytes, as four
// floats were.
//   E4M3 weights  values times a power of two (largest to 2^14 ... 2^15), f16 + f16: 22 bits or 2^-40 of the largest
//   bf16 weights  bf16 + bf16: 16 bits
//   fp32 weights  the floats themselves, in their own order
#pragma once

#include "kernels/cuda/ptx.cuh"
#include "kernels/tensor.h"

namespace latentd::cuda {

constexpr int kBlockInputs = 128;
constexpr int kBlockBytes = kBlockInputs * 4;  // of split activations
constexpr unsigned kAllLanes = 0xffffffffu;

// The first of the four inputs that quad `quad` of a block holds.
template <DType kWeight>
__device__ __forceinline__ int FirstInputOfQuad(int quad) {
  const int step = quad / 4, lane = quad % 4;
  if (kWeight == DType::kE4M3) return 64 * (step / 4) + 16 * lane + 4 * (step % 4);
  if (kWeight == DType::kBf16) return 32 * (step / 2) + 8 * lane + 4 * (step % 2);
  return 4 * quad;
}

__device__ __forceinline__ float WarpMaxAbs(const float4& values) {
  float max = fmaxf(fmaxf(fabsf(values.x), fabsf(values.y)), fmaxf(fabsf(values.z), fabsf(values.w)));
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, distance));
  }
  return max;
}

__device__ __forceinline__ uint16_t LowerHalf(uint32_t halves) { return static_cast<uint16_t>(halves); }
__device__ __forceinline__ uint16_t UpperHalf(uint32_t halves) { return static_cast<uint16_t>(halves >> 16); }
// A bf16 is the upper half of its float.
__device__ __forceinline__ float LowerBf16(uint32_t halves) { return __uint_as_float(halves << 16); }
__device__ __forceinline__ float UpperBf16(uint32_t halves) { return __uint_as_float(halves & 0xffff0000u); }

// Stores this lane's quad of a block (a whole warp's work) and, for E4M3 weights, the block's scale.
template <DType kWeight>
__device__ __forceinline__ void StoreQuad(float4 values, int quad, std::byte* block, float* scale) {
  uint4 halves;
  if (kWeight == DType::kE4M3) {
    // 2^(141 - e) for a largest value of exponent field e; the limit keeps both powers normal numbers.
    const int exponent = static_cast<int>(__float_as_uint(WarpMaxAbs(values)) >> 23);
    const int up = min(268 - exponent, 253);
    const float factor = __uint_as_float(static_cast<uint32_t>(up) << 23);
    values = make_float4(values.x * factor, values.y * factor, values.z * factor, values.w * factor);
    halves.x = CvtRnF16x2F32(values.y, values.x);
    halves.y = CvtRnF16x2F32(values.w, values.z);
    halves.z = CvtRnF16x2F32(values.y - CvtF32F16(UpperHalf(halves.x)), values.x - CvtF32F16(LowerHalf(halves.x)));
    halves.w = CvtRnF16x2F32(values.w - CvtF32F16(UpperHalf(halves.y)), values.z - CvtF32F16(LowerHalf(halves.y)));
    if (quad == 0) *scale = __uint_as_float(static_cast<uint32_t>(254 - up) << 23);
  } else if (kWeight == DType::kBf16) {
    halves.x = CvtRnBf16x2F32(values.y, values.x);
    halves.y = CvtRnBf16x2F32(values.w, values.z);
    halves.z = CvtRnBf16x2F32(values.y - UpperBf16(halves.x), values.x - LowerBf16(halves.x));
    halves.w = CvtRnBf16x2F32(values.w - UpperBf16(halves.y), values.z - LowerBf16(halves.y));
  } else {
    halves = make_uint4(__float_as_uint(values.x), __float_as_uint(values.y), __float_as_uint(values.z),
                        __float_as_uint(values.w));
  }
  *reinterpret_cast<uint4*>(block + quad * sizeof(uint4)) = halves;
}

}  // namespace latentd::cuda

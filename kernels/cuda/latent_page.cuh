// How attend.cu's blocks of 8 warps bring queries and pages of latents into shared memory, and decode FP8 slots there.
#pragma once

#include "kernels/cuda/attend_plan.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/tensor.h"

namespace latentd::cuda {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kChunkValues = 8;  // bf16 in the 16 bytes of one copy or ldmatrix row
constexpr int kSwizzleRows = 8;  // chunks are permuted within groups of 8 by the row
static_assert(kTileKeys == 8 * kWarps);

// A matrix of bf16 rows in shared memory whose chunks are permuted so that ldmatrix meets no bank twice.
struct SharedRows {
  char* bytes;
  int row_chunks;  // a multiple of 8

  __device__ char* Chunk(int row, int chunk) const {
    return bytes + (row * row_chunks + (chunk ^ (row % kSwizzleRows))) * 16;
  }
  __device__ SharedRows Plus(int rows) const { return {bytes + rows * row_chunks * 16, row_chunks}; }
};

// Keys, or rows, [begin, end).
struct KeySpan {
  int begin;
  int end;

  __device__ bool Contains(int key) const { return begin <= key && key < end; }
  // Its part of `count` keys from `first` on, counted from there.
  __device__ KeySpan Within(int first, int count) const { return {max(begin - first, 0), min(end - first, count)}; }
};

// Starts copying the `valid` rows of `width` values, the last chunk whole: what lies behind the width in it is zero in
// pages and queries alike. The other rows of num_rows and the other chunks become zero.
__device__ __forceinline__ void CopyRows(const SharedRows& to, const uint16_t* from, int num_rows, KeySpan valid,
                                         int stride, int width) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int row = warp; row < num_rows; row += kWarps) {
    const uint16_t* source = from + static_cast<size_t>(row) * stride;
    for (int chunk = lane; chunk < to.row_chunks; chunk += 32) {
      const bool inside = valid.Contains(row) && chunk * kChunkValues < width;
      CpAsyncCg16(to.Chunk(row, chunk), inside ? source + chunk * kChunkValues : from, inside ? 16 : 0);
    }
  }
}

// Starts copying the first num_bytes of FP8 slots as they lie.
__device__ __forceinline__ void CopySlots(char* to, const std::byte* from, int num_bytes) {
  for (int at = 16 * static_cast<int>(threadIdx.x); at < num_bytes; at += 16 * kThreads) {
    CpAsyncCg16(to + at, from + at, min(16, num_bytes - at));
  }
}

// Four values in bf16. No bit is lost: a code has four, and its scale is a power of two.
__device__ __forceinline__ uint2 DecodeFourCodes(uint32_t codes, float scale) {
  const uint32_t low = CvtRnF16x2E4m3x2(static_cast<uint16_t>(codes));
  const uint32_t high = CvtRnF16x2E4m3x2(static_cast<uint16_t>(codes >> 16));
  return {CvtRnBf16x2F32(CvtF32F16(static_cast<uint16_t>(low >> 16)) * scale,
                         CvtF32F16(static_cast<uint16_t>(low)) * scale),
          CvtRnBf16x2F32(CvtF32F16(static_cast<uint16_t>(high >> 16)) * scale,
                         CvtF32F16(static_cast<uint16_t>(high)) * scale)};
}

// FP8 slots in shared memory as they are stored.
struct StoredSlots {
  char* bytes;
  int slot_bytes;
  int latent_width;
  int key_width;
};

// One value of a slot, wherever its parts lie.
__device__ __forceinline__ uint32_t DecodeValue(const StoredSlots& slots, int row, int column) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(slots.bytes + row * slots.slot_bytes);
  const int latent_width = slots.latent_width;
  if (column >= slots.key_width) return 0;
  if (column >= latent_width) {
    const int at = latent_width + 4 * ((latent_width + kCodeGroup - 1) / kCodeGroup) + 2 * (column - latent_width);
    return bytes[at] | static_cast<uint32_t>(bytes[at + 1]) << 8;
  }
  uint32_t scale = 0;
  for (int i = 0; i < 4; ++i) {
    scale |= static_cast<uint32_t>(bytes[latent_width + 4 * (column / kCodeGroup) + i]) << (8 * i);
  }
  return DecodeFourCodes(bytes[column], __uint_as_float(scale)).x & 0xffffu;
}

__device__ __forceinline__ uint4 DecodeChunk(const StoredSlots& slots, int row, int chunk) {
  const int column = chunk * kChunkValues, latent_width = slots.latent_width;
  const char* slot = slots.bytes + row * slots.slot_bytes;
  if (latent_width % kChunkValues == 0 && column < latent_width) {  // so words of a slot are aligned
    const auto* codes = reinterpret_cast<const uint32_t*>(slot + column);
    const float scale = *reinterpret_cast<const float*>(slot + latent_width + 4 * (column / kCodeGroup));
    const uint2 first = DecodeFourCodes(codes[0], scale), second = DecodeFourCodes(codes[1], scale);
    return {first.x, first.y, second.x, second.y};
  }
  uint32_t pairs[kChunkValues / 2];
#pragma unroll
  for (int i = 0; i < kChunkValues / 2; ++i) {
    pairs[i] = DecodeValue(slots, row, column + 2 * i) | DecodeValue(slots, row, column + 2 * i + 1) << 16;
  }
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

// The page that FP8 slots stand for; rows that are not valid are zero.
__device__ __forceinline__ void DecodePage(const StoredSlots& slots, KeySpan valid, const SharedRows& page) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int row = warp; row < kTileKeys; row += kWarps) {
    for (int chunk = lane; chunk < page.row_chunks; chunk += 32) {
      uint4 values = {};
      if (valid.Contains(row)) values = DecodeChunk(slots, row, chunk);
      *reinterpret_cast<uint4*>(page.Chunk(row, chunk)) = values;
    }
  }
}

}  // namespace latentd::cuda

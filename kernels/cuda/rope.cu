// RotateQueries and AppendLatent: the verbs that depend on a token's position.
//
// RotateQueries turns one head per warp, 8 heads per block, a pair per lane at a time. AppendLatent gives a block of
// 128 threads to a token: it rotates the shared key part, norms the latent in the fixed order of BlockSum, and stores
// both: as bf16 with zeros behind them up to the slot's end, or the latent as FP8, a warp's 128 columns with one scale.
//
// Bytes per token: RotateQueries 8 * heads * rope_width and the angles; AppendLatent 8 * latent (the second reading
// from L1) + 4 * rope, then a slot written. Bound: latency; for a prompt's chunk memory.
#include <cstdint>

#include "base/check.h"
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

// A slot: its parts, and where its numbers may be stored as wholes rather than byte by byte. Where a slot has FP8 codes
// in fours (kVector is 4), all its parts are aligned to their numbers; so are those of a bf16 slot.
template <int kVector, LatentFormat kFormat>
struct Slot {
  static constexpr bool kAligned = kVector == 4 || kFormat == LatentFormat::kBf16;

  std::byte* latent;
  std::byte* scales;  // of FP8
  std::byte* key;
};

template <bool kAligned>
__device__ __forceinline__ void StoreBf16(float value, std::byte* to) {
  const auto bits = static_cast<uint16_t>(CvtRnBf16x2F32(0.0f, value));
  if constexpr (kAligned) {
    *reinterpret_cast<uint16_t*>(to) = bits;
  } else {
    to[0] = static_cast<std::byte>(bits);
    to[1] = static_cast<std::byte>(bits >> 8);
  }
}

template <bool kAligned>
__device__ __forceinline__ void StoreWord(uint32_t word, int num_bytes, std::byte* to) {
  if constexpr (kAligned) {
    *reinterpret_cast<uint32_t*>(to) = word;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < num_bytes) to[i] = static_cast<std::byte>(word >> (8 * i));
    }
  }
}

template <bool kAligned>
__device__ __forceinline__ void AppendKey(const float* from, const float* angles, RopePairs pairs, int rope_width,
                                          std::byte* key) {
  const int half = rope_width / 2;
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kAppendThreads) {
    const Pair pair = PairAt(pairs, i, half);
    const float2 rotated = Rotated(angles, i, half, from[pair.first], from[pair.second]);
    StoreBf16<kAligned>(rotated.x, key + 2 * pair.first);
    StoreBf16<kAligned>(rotated.y, key + 2 * pair.second);
  }
}

// The codes and the scale of a group that the whole warp holds: max(amax, 1e-4) / 448 up to a power of two; where a
// value is not finite a scale that is NaN, and codes 0.
template <int kVector, LatentFormat kFormat>
__device__ __forceinline__ void StoreLatentCodes(float4 four, int width, int group,
                                                 const Slot<kVector, kFormat>& slot) {
  constexpr uint32_t kInfinityBits = 0x7f800000u, kNanBits = 0x7fc00000u, kSignBit = 0x80000000u;
  // Positive floats are ordered as their bits are, NaNs behind infinity.
  const uint32_t high = max(__float_as_uint(four.x) & ~kSignBit, __float_as_uint(four.y) & ~kSignBit);
  const uint32_t low = max(__float_as_uint(four.z) & ~kSignBit, __float_as_uint(four.w) & ~kSignBit);
  const uint32_t peak = __reduce_max_sync(kAllLanes, max(max(high, low), __float_as_uint(kSmallestPeak)));
  const bool is_finite = peak < kInfinityBits;
  const float scale = is_finite ? UpToPowerOfTwo(__uint_as_float(peak) / kLargestCode) : __uint_as_float(kNanBits);
  const float factor = 1.0f / scale;  // exact, and so are the products
  const uint32_t codes = CodesOf({four.x * factor, four.y * factor, four.z * factor, four.w * factor});
  const int column = LaneColumn(group);
  if (column < width) {
    StoreWord<kVector == 4>(is_finite ? codes : 0u, min(width - column, 4), slot.latent + column);
  }
  if (Lane() == 0) StoreWord<kVector == 4>(__float_as_uint(scale), 4, slot.scales + 4 * group);
}

template <int kVector, LatentFormat kFormat>
__global__ void __launch_bounds__(kAppendThreads)
    AppendTokens(Tensor kv, const float* weight, float epsilon, const int32_t* positions, const int32_t* slots,
                 RopeTable rope, LatentPages pages, int slot_bytes) {
  __shared__ float sums[kAppendWarps];
  const int token = static_cast<int>(blockIdx.x), index = slots[token], width = pages.latent_width;
  if (index < 0) return;
  const float* from = RowOf(kv, token);
  using TokenSlot = Slot<kVector, kFormat>;
  TokenSlot slot{.latent = pages.bytes + static_cast<int64_t>(index) * slot_bytes};
  slot.scales = slot.latent + width;
  slot.key = kFormat == LatentFormat::kFp8 ? slot.scales + 4 * NumGroups(width) : slot.latent + 2 * width;
  AppendKey<TokenSlot::kAligned>(from + width, RowOf(rope.angles, positions[token]), rope.pairs, pages.rope_width,
                                 slot.key);
  if constexpr (kFormat == LatentFormat::kBf16) {
    auto* values = reinterpret_cast<uint16_t*>(slot.latent);
    for (int i = width + pages.rope_width + static_cast<int>(threadIdx.x); i < slot_bytes / 2; i += kAppendThreads) {
      values[i] = 0;
    }
  }
  float squares = 0.0f;
  for (int group = Warp(); group < NumGroups(width); group += kAppendWarps) {
    squares = AddSquares(LoadFour<kVector>(from, LaneColumn(group), width), squares);
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, sums) / static_cast<float>(width) + epsilon);
  for (int group = Warp(); group < NumGroups(width); group += kAppendWarps) {
    const int column = LaneColumn(group);
    const float4 four = LoadFour<kVector>(from, column, width), by = LoadFour<kVector>(weight, column, width);
    const float4 normed = {four.x * scale * by.x, four.y * scale * by.y, four.z * scale * by.z, four.w * scale * by.w};
    if constexpr (kFormat == LatentFormat::kFp8) {
      StoreLatentCodes(normed, width, group, slot);
    } else {
      StoreFourBf16<kVector>(normed, reinterpret_cast<uint16_t*>(slot.latent), column, width);
    }
  }
}

template <LatentFormat kFormat>
void LaunchAppend(cudaStream_t stream, Tensor kv, const float* weight, float epsilon, const int32_t* positions,
                  const int32_t* slots, const RopeTable& rope, const LatentPages& pages) {
  const auto kernel = pages.latent_width % 4 == 0 ? AppendTokens<4, kFormat> : AppendTokens<1, kFormat>;
  kernel<<<static_cast<unsigned>(kv.rows), kAppendThreads, 0, stream>>>(kv, weight, epsilon, positions, slots, rope,
                                                                        pages, static_cast<int>(pages.slot_bytes()));
  CheckLaunch("AppendTokens");
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
  CHECK(pages.format != LatentFormat::kF32);
  if (kv.rows == 0) return;
  const auto launch =
      pages.format == LatentFormat::kFp8 ? LaunchAppend<LatentFormat::kFp8> : LaunchAppend<LatentFormat::kBf16>;
  launch(stream, kv, weight, epsilon, positions, slots, rope, pages);
}

}  // namespace latentd::cuda

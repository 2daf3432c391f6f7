// Attention over the paged latents in the absorbed form, one partial result per range of 512 keys, and the merge.
//
// AttendRanges: a block takes 16 heads of one token and one range. Pages (64 slots, the tile of the streaming softmax)
// arrive by cp.async in two stages. Scores: warp w multiplies the queries, as a high and a low bf16 plane, with keys
// 8w .. 8w+7. The tile's maximum and its weights (bf16) go through shared memory; then warp w adds weights times
// latents for the columns of pairs w, w+8, .. of 8-wide column tiles, read transposed from the same page. Keys before
// the row's first and behind the token's own position are zero-filled by the copy and get weight 0; pages hold anything
// there. Pages of FP8 slots arrive as they lie, in one stage, and are decoded to bf16 from there, exactly; meanwhile
// the next one is under way.
//   bytes per call: Σ tokens, head tiles: keys · slot bytes (2 (latent + rope) in bf16), of which HBM sees one tile's
//   FLOPs per call: Σ tokens, heads: keys · 2 · (2 (latent + rope) + latent)
//   bound: HBM for one to four head tiles (16..64 heads), mma.sync beyond.
// MergeRanges: a block takes one head of a token and merges its ranges in ascending order.
//   bytes per call: tokens · heads · ranges · (latent + 2) · 4; bound: L2, launch latency.
//
// A key's tile and range follow from its position alone; rows of an mma are independent. So a token's result depends on
// neither the other tokens, the launch's ranges nor the physical blocks.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/cuda/attend.h"
#include "kernels/cuda/latent_page.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace latentd::cuda {
namespace {

constexpr int kStages = 2;
constexpr int kMergeThreads = 128;
constexpr float kNothing = -INFINITY;  // the maximum of no scores

// A block's shared memory: queries [2 planes][16], pages [2 stages][64], weights [16][64], row statistics
// [8 warps][16]. For FP8 there is one page and, at the end, its slots as stored.
constexpr int kWeightBytes = kTileHeads * kTileKeys * 2;
constexpr int kStatisticBytes = kWarps * kTileHeads * 4;
constexpr int RowChunks(int key_width) { return RoundUp(key_width, kChunkValues * kSwizzleRows) / kChunkValues; }
template <LatentFormat kFormat>
constexpr int kPages = kFormat == LatentFormat::kFp8 ? 1 : kStages;
template <LatentFormat kFormat>
constexpr int SharedBytes(int key_width, int slot_bytes) {
  return (2 * kTileHeads + kPages<kFormat> * kTileKeys) * RowChunks(key_width) * 16 + kWeightBytes + kStatisticBytes +
         (kFormat == LatentFormat::kFp8 ? kTileKeys * slot_bytes : 0);
}
constexpr int kMaxFp8SlotBytes = 2 * kMaxKeyWidth + 4;  // where nearly all of a key is its rope part
static_assert(SharedBytes<LatentFormat::kFp8>(kMaxKeyWidth, kMaxFp8SlotBytes) <= 227 * 1024);

struct RangeArguments {
  const uint16_t* queries[2];  // [tokens][heads][key_stride]
  const std::byte* pages;
  const int32_t* positions;  // of the wave's first token on, as the next two
  const int32_t* slots;
  const int32_t* token_rows;
  const BatchRow* rows;
  const int32_t* blocks;
  float* latents;
  float* maxima;
  float* sums;
  int num_heads;
  int key_width;
  int key_stride;
  int row_chunks;  // of a key in shared memory
  int latent_width;
  int latent_stride;
  int slot_bytes;
  float scale;  // to base 2
};

// Keys that the token sees: none if it only fills up the step.
__device__ __forceinline__ KeySpan VisibleKeys(const RangeArguments& arguments, int token) {
  if (arguments.slots[token] == kNoSlot) return {0, 0};
  return {arguments.rows[arguments.token_rows[token]].first_key, arguments.positions[token] + 1};
}

// scores += the block's 16 queries times keys [8 warp, 8 warp + 8) of the page. Four chains of sums, in one fixed
// order.
__device__ __forceinline__ void ScoreKeys(const SharedRows& queries, const SharedRows& page, int key_width,
                                          float (&scores)[4]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int steps = (key_width + 31) / 32;
  float high_even[4] = {}, high_odd[4] = {}, low_even[4] = {}, low_odd[4] = {};
  for (int step = 0; step < steps; ++step) {
    const int chunk = 4 * step;
    uint32_t keys[4], even[4], odd[4];
    LdmatrixX4(page.Chunk(8 * warp + lane % 8, chunk + lane / 8), keys);
    const uint32_t even_keys[2] = {keys[0], keys[1]}, odd_keys[2] = {keys[2], keys[3]};
    LdmatrixX4(queries.Chunk(lane % 16, chunk + lane / 16), even);
    LdmatrixX4(queries.Chunk(lane % 16, chunk + 2 + lane / 16), odd);
    MmaM16N8K16Bf16(high_even, even, even_keys);
    MmaM16N8K16Bf16(high_odd, odd, odd_keys);
    LdmatrixX4(queries.Chunk(kTileHeads + lane % 16, chunk + lane / 16), even);
    LdmatrixX4(queries.Chunk(kTileHeads + lane % 16, chunk + 2 + lane / 16), odd);
    MmaM16N8K16Bf16(low_even, even, even_keys);
    MmaM16N8K16Bf16(low_odd, odd, odd_keys);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) scores[i] = (high_even[i] + high_odd[i]) + (low_even[i] + low_odd[i]);
}

// latents += the tile's weights times its latents, for this warp's columns.
template <int kColumnPairs>
__device__ __forceinline__ void AddLatents(const SharedRows& weights, const SharedRows& page, int latent_width,
                                           float (&latents)[2 * kColumnPairs][4]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < kTileKeys / 16; ++step) {
    uint32_t a[4];
    LdmatrixX4(weights.Chunk(lane % 16, 2 * step + lane / 16), a);
#pragma unroll
    for (int i = 0; i < kColumnPairs; ++i) {
      const int pair = i * kWarps + warp;
      if (pair * 16 >= latent_width) continue;
      uint32_t values[4];
      LdmatrixX4Trans(page.Chunk(16 * step + lane % 16, 2 * pair + lane / 16), values);
      const uint32_t first[2] = {values[0], values[1]}, second[2] = {values[2], values[3]};
      MmaM16N8K16Bf16(latents[2 * i], a, first);
      MmaM16N8K16Bf16(latents[2 * i + 1], a, second);
    }
  }
}

// This thread's two rows of the streaming softmax, lane/4 and lane/4 + 8 of the head tile. `sum` covers the weights
// that this thread computed itself.
struct RowStatistics {
  float max[2] = {kNothing, kNothing};
  float sum[2] = {};
};

__device__ __forceinline__ float QuadMax(float value) {
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
  return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}

__device__ __forceinline__ float QuadSum(float value) {
  value += __shfl_xor_sync(~0u, value, 1);
  return value + __shfl_xor_sync(~0u, value, 2);
}

// Turns the scores of one tile into weights in shared memory; returns the factor for earlier results.
// Contains the barrier at which the warps' maxima meet; the caller's follows before the weights are read.
__device__ __forceinline__ void WeighTile(float (&scores)[4], KeySpan visible, float scale, const SharedRows& weights,
                                          float (*warp_maxima)[kTileHeads], RowStatistics& rows, float (&factors)[2]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int key = 8 * warp + 2 * (lane % 4);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int j = 0; j < 2; ++j) scores[2 * r + j] = visible.Contains(key + j) ? scores[2 * r + j] * scale : kNothing;
    const float max = QuadMax(fmaxf(scores[2 * r], scores[2 * r + 1]));
    if (lane % 4 == 0) warp_maxima[warp][lane / 4 + 8 * r] = max;
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane / 4 + 8 * r;
    float max = rows.max[r];
#pragma unroll
    for (int w = 0; w < kWarps; ++w) max = fmaxf(max, warp_maxima[w][row]);
    factors[r] = Ex2Approx(rows.max[r] - max);
    rows.max[r] = max;
    const uint32_t pair = CvtRnBf16x2F32(Ex2Approx(scores[2 * r + 1] - max), Ex2Approx(scores[2 * r] - max));
    // The sum takes the weights as they will be multiplied: rounded.
    const float low = __uint_as_float(pair << 16), high = __uint_as_float(pair & 0xffff0000u);
    rows.sum[r] = fmaf(rows.sum[r], factors[r], low + high);
    reinterpret_cast<uint32_t*>(weights.Chunk(row, warp))[lane % 4] = pair;
  }
}

template <int kColumnPairs>
__device__ __forceinline__ void StoreRange(const RangeArguments& arguments, size_t first_row, int num_heads,
                                           const RowStatistics& rows, float (*warp_sums)[kTileHeads],
                                           const float (&latents)[2 * kColumnPairs][4]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane / 4 + 8 * r;
    const float sum = QuadSum(rows.sum[r]);
    if (lane % 4 == 0) warp_sums[warp][row] = sum;
    if (row >= num_heads) continue;
    float* to = arguments.latents + (first_row + row) * arguments.latent_stride + 2 * (lane % 4);
#pragma unroll
    for (int i = 0; i < 2 * kColumnPairs; ++i) {
      const int column = 16 * (i / 2 * kWarps + warp) + 8 * (i % 2);
      if (column >= arguments.latent_stride) continue;
      *reinterpret_cast<float2*>(to + column) = make_float2(latents[i][2 * r], latents[i][2 * r + 1]);
    }
    if (warp == 0 && lane % 4 == 0) arguments.maxima[first_row + row] = rows.max[r];
  }
  __syncthreads();
  if (threadIdx.x < num_heads) {
    float sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) sum += warp_sums[w][threadIdx.x];
    arguments.sums[first_row + threadIdx.x] = sum;
  }
}

// Grid: head tiles, ranges, tokens of the wave.
template <int kColumnPairs, LatentFormat kFormat>
__global__ void __launch_bounds__(kThreads, 1) AttendRangesKernel(const RangeArguments arguments) {
  extern __shared__ __align__(1024) char shared[];
  const int token = blockIdx.z, range = blockIdx.y, first_head = blockIdx.x * kTileHeads;
  const int first_key = range * kRangeKeys;
  const KeySpan keys = VisibleKeys(arguments, token).Within(first_key, kRangeKeys);
  if (keys.begin >= keys.end) return;
  const int first_tile = keys.begin / kTileKeys, end_tile = (keys.end + kTileKeys - 1) / kTileKeys;
  const auto tile_keys = [&](int tile) { return keys.Within(tile * kTileKeys, kTileKeys); };
  const int num_heads = min(arguments.num_heads - first_head, kTileHeads);

  const SharedRows queries = {shared, arguments.row_chunks};
  const SharedRows pages = queries.Plus(2 * kTileHeads);
  char* behind_pages = pages.Plus(kPages<kFormat> * kTileKeys).bytes;
  const SharedRows weights = {behind_pages, kTileKeys / kChunkValues};
  auto* warp_rows = reinterpret_cast<float(*)[kTileHeads]>(behind_pages + kWeightBytes);
  const StoredSlots slots = {behind_pages + kWeightBytes + kStatisticBytes, arguments.slot_bytes,
                             arguments.latent_width, arguments.key_width};

  const int32_t* blocks =
      arguments.blocks + arguments.rows[arguments.token_rows[token]].first_block + first_key / kTileKeys;
  const auto copy_page = [&](int tile) {
    const size_t first_slot = static_cast<size_t>(blocks[tile]) * kBlockSlots;
    const std::byte* stored = arguments.pages + first_slot * arguments.slot_bytes;
    const KeySpan valid = tile_keys(tile);
    if constexpr (kFormat == LatentFormat::kFp8) {
      CopySlots(slots.bytes, stored, valid.end * arguments.slot_bytes);
    } else {
      CopyRows(pages.Plus(tile % kStages * kTileKeys), reinterpret_cast<const uint16_t*>(stored), kTileKeys, valid,
               arguments.slot_bytes / 2, arguments.key_width);
    }
  };
  const size_t first_query = static_cast<size_t>(token) * arguments.num_heads + first_head;
#pragma unroll
  for (int plane = 0; plane < 2; ++plane) {
    CopyRows(queries.Plus(plane * kTileHeads), arguments.queries[plane] + first_query * arguments.key_stride,
             kTileHeads, {0, num_heads}, arguments.key_stride, arguments.key_width);
  }
  copy_page(first_tile);
  CpAsyncCommitGroup();

  float latents[2 * kColumnPairs][4] = {};
  RowStatistics rows;
  for (int tile = first_tile; tile < end_tile; ++tile) {
    const SharedRows page = pages.Plus(tile % kPages<kFormat> * kTileKeys);
    if constexpr (kFormat == LatentFormat::kFp8) {
      CpAsyncWaitGroup<0>();
      __syncthreads();  // the slots have arrived
      DecodePage(slots, tile_keys(tile), page);
      __syncthreads();  // the page is decoded, the slots may be overwritten
    }
    if (tile + 1 < end_tile) copy_page(tile + 1);
    CpAsyncCommitGroup();
    if constexpr (kFormat != LatentFormat::kFp8) {
      CpAsyncWaitGroup<1>();
      __syncthreads();  // the page has arrived
    }

    float scores[4], factors[2];
    ScoreKeys(queries, page, arguments.key_width, scores);
    WeighTile(scores, tile_keys(tile), arguments.scale, weights, warp_rows, rows, factors);
#pragma unroll
    for (int i = 0; i < 2 * kColumnPairs; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) latents[i][j] *= factors[j / 2];
    }
    __syncthreads();  // the weights are complete
    AddLatents<kColumnPairs>(weights, page, arguments.latent_width, latents);
    __syncthreads();  // the page, the weights and the maxima may be overwritten
  }
  const size_t first_row = (static_cast<size_t>(token) * gridDim.y + range) * arguments.num_heads + first_head;
  StoreRange<kColumnPairs>(arguments, first_row, num_heads, rows, warp_rows, latents);
}

// Grid: heads, tokens of the wave. The mean takes the place of range 0; zero where the token sees nothing.
__global__ void __launch_bounds__(kMergeThreads) MergeRangesKernel(const RangeArguments arguments, int num_ranges) {
  const int token = blockIdx.y, head = blockIdx.x;
  const KeySpan keys = VisibleKeys(arguments, token);
  const int first_range = keys.begin / kRangeKeys, end_range = (keys.end + kRangeKeys - 1) / kRangeKeys;
  const size_t first_row = static_cast<size_t>(token) * num_ranges * arguments.num_heads + head;
  const auto row_of = [&](int range) { return first_row + static_cast<size_t>(range) * arguments.num_heads; };
  float max = kNothing;
  for (int range = first_range; range < end_range; ++range) max = fmaxf(max, arguments.maxima[row_of(range)]);

  for (int column = 4 * threadIdx.x; column < arguments.latent_stride; column += 4 * kMergeThreads) {
    float4 total = {};
    float sum = 0.0f;
    for (int range = first_range; range < end_range; ++range) {
      const size_t row = row_of(range);
      const float factor = Ex2Approx(arguments.maxima[row] - max);
      const float4 part = *reinterpret_cast<const float4*>(arguments.latents + row * arguments.latent_stride + column);
      sum = fmaf(arguments.sums[row], factor, sum);
      total.x = fmaf(part.x, factor, total.x);
      total.y = fmaf(part.y, factor, total.y);
      total.z = fmaf(part.z, factor, total.z);
      total.w = fmaf(part.w, factor, total.w);
    }
    const float inverse = keys.end > 0 ? 1.0f / sum : 0.0f;
    *reinterpret_cast<float4*>(arguments.latents + first_row * arguments.latent_stride + column) =
        make_float4(total.x * inverse, total.y * inverse, total.z * inverse, total.w * inverse);
  }
}

RangeArguments ArgumentsOf(const AttendWave& wave) {
  const AttendCall& call = wave.call;
  constexpr float kLog2E = 1.44269504088896340736f;
  return {.queries = {wave.scratch.queries_high, wave.scratch.queries_low},
          .pages = call.pages.bytes,
          .positions = call.batch.positions.data() + wave.first_token,
          .slots = call.batch.slots.data() + wave.first_token,
          .token_rows = call.batch.token_rows.data() + wave.first_token,
          .rows = call.batch.rows.data(),
          .blocks = call.batch.blocks.data(),
          .latents = wave.scratch.latents,
          .maxima = wave.scratch.maxima,
          .sums = wave.scratch.sums,
          .num_heads = call.shape.num_heads,
          .key_width = call.shape.latent_width + call.shape.rope_width,
          .key_stride = call.plan.key_stride,
          .row_chunks = RowChunks(call.shape.latent_width + call.shape.rope_width),
          .latent_width = call.shape.latent_width,
          .latent_stride = call.plan.latent_stride,
          .slot_bytes = static_cast<int>(call.pages.slot_bytes()),
          .scale = call.scale * kLog2E};
}

template <int kColumnPairs, LatentFormat kFormat>
void LaunchRanges(cudaStream_t stream, const AttendWave& wave) {
  const RangeArguments arguments = ArgumentsOf(wave);
  const dim3 grid(static_cast<unsigned>((arguments.num_heads + kTileHeads - 1) / kTileHeads),
                  static_cast<unsigned>(wave.num_ranges), static_cast<unsigned>(wave.num_tokens));
  const int shared_bytes = SharedBytes<kFormat>(arguments.key_width, arguments.slot_bytes);
  AttendRangesKernel<kColumnPairs, kFormat><<<grid, kThreads, static_cast<size_t>(shared_bytes), stream>>>(arguments);
  CheckLaunch("AttendRanges");
}

template <LatentFormat kFormat>
void AttendRangesOf(cudaStream_t stream, const AttendWave& wave) {
  const int latent_width = wave.call.shape.latent_width;
  if (latent_width <= 16 * kWarps) return LaunchRanges<1, kFormat>(stream, wave);
  if (latent_width <= 2 * 16 * kWarps) return LaunchRanges<2, kFormat>(stream, wave);
  static_assert(kMaxLatentWidth <= 4 * 16 * kWarps);
  LaunchRanges<4, kFormat>(stream, wave);
}

template <LatentFormat kFormat>
cudaError_t PrepareAttendRanges() {
  cudaError_t error = cudaSuccess;
  for (const auto kernel :
       {AttendRangesKernel<1, kFormat>, AttendRangesKernel<2, kFormat>, AttendRangesKernel<4, kFormat>}) {
    if (error != cudaSuccess) break;
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 SharedBytes<kFormat>(kMaxKeyWidth, kMaxFp8SlotBytes));
  }
  return error;
}

}  // namespace

AttendScratch::AttendScratch(const AttendPlan& plan, std::byte* memory) {
  const auto take = [&](size_t bytes) {
    std::byte* part = memory;
    memory += bytes;
    return part;
  };
  queries_high = reinterpret_cast<uint16_t*>(take(plan.query_plane_bytes()));
  queries_low = reinterpret_cast<uint16_t*>(take(plan.query_plane_bytes()));
  latents = reinterpret_cast<float*>(take(plan.latent_bytes()));
  maxima = reinterpret_cast<float*>(take(plan.statistic_bytes()));
  sums = reinterpret_cast<float*>(take(plan.statistic_bytes()));
}

cudaError_t PrepareAttendLatent() {
  const cudaError_t error = PrepareAttendRanges<LatentFormat::kBf16>();
  return error != cudaSuccess ? error : PrepareAttendRanges<LatentFormat::kFp8>();
}

void AttendRanges(cudaStream_t stream, const AttendWave& wave) {
  if (wave.call.pages.format == LatentFormat::kFp8) return AttendRangesOf<LatentFormat::kFp8>(stream, wave);
  AttendRangesOf<LatentFormat::kBf16>(stream, wave);
}

void MergeRanges(cudaStream_t stream, const AttendWave& wave) {
  const RangeArguments arguments = ArgumentsOf(wave);
  const dim3 grid(static_cast<unsigned>(arguments.num_heads), static_cast<unsigned>(wave.num_tokens));
  MergeRangesKernel<<<grid, kMergeThreads, 0, stream>>>(arguments, wave.num_ranges);
  CheckLaunch("MergeRanges");
}

void AttendLatent(cudaStream_t stream, const AttendCall& call) {
  CHECK(call.pages.format != LatentFormat::kF32);
  CHECK_EQ(call.q.width, call.shape.num_heads * call.shape.query_width());
  CHECK_EQ(call.out.width, call.shape.num_heads * call.shape.value_width);
  const int num_tokens = call.batch.num_tokens();
  CHECK_EQ(call.q.rows, num_tokens);
  CHECK_EQ(call.out.rows, num_tokens);
  const int num_ranges = std::clamp(NumRanges(call.batch.max_context), 1, call.plan.max_ranges);
  const int wave_tokens = call.plan.WaveTokens(num_ranges);
  const AttendScratch scratch(call.plan, call.scratch);
  for (int first = 0; first < num_tokens; first += wave_tokens) {
    const AttendWave wave = {.call = call,
                             .scratch = scratch,
                             .first_token = first,
                             .num_tokens = std::min(wave_tokens, num_tokens - first),
                             .num_ranges = num_ranges};
    AbsorbQueries(stream, wave);
    AttendRanges(stream, wave);
    MergeRanges(stream, wave);
    ExpandValues(stream, wave);
  }
}

}  // namespace latentd::cuda

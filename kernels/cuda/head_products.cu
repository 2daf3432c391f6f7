// The products of AttendLatent with one small matrix per head: the absorbed queries q̃ = W_UKᵀ q_n before attention,
// the values out = W_UV m behind it.
//
// A block takes 8 tiles of 16 outputs of one head and 32 tokens. The tokens' inputs go through shared memory 128 or
// 64 at a time, each split into two bf16 planes (what bf16 keeps of it, and of the rest), so that the product is that
// of fp32 inputs with the packed weights to 2^-16; a warp takes one tile of outputs as the A operand of mma.m16n8k16,
// straight from memory in its packed order, and four tiles of 8 tokens. Sums ascend over the inputs, each step high,
// low, and the weights' low plane where there is one. Tokens are columns of the mma: none sees another.
//   bytes per call: heads · outputs · inputs · 2 · planes, and tokens · heads · (4 inputs + 4 outputs)
//   FLOPs per call: tokens · heads · outputs · inputs · 2 · (planes + 1)
//   bound: HBM up to about 64 tokens (decode), then mma.sync.
#include "kernels/cuda/attend.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace latentd::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kTokens = 32;  // of a block
constexpr int kTokenTiles = kTokens / 8;
constexpr int kMaxStageInputs = 128;
constexpr int kRowPairs = kMaxStageInputs / 2 + 4;  // 68 words apart, 8 rows by 4 words meet no bank twice
// Tiles of inputs whose weights a warp holds at once.
template <int kPlanes>
constexpr int kStageSteps = kMaxStageInputs / HeadMatrices::kTile / kPlanes;

struct SplitPair {
  uint32_t high;
  uint32_t low;
};

// The high halves of two values (rounded to bf16), and the low halves (the rounded rest).
__device__ __forceinline__ SplitPair Split(float first, float second) {
  const uint32_t high = CvtRnBf16x2F32(second, first);
  const float first_rest = first - __uint_as_float(high << 16);
  const float second_rest = second - __uint_as_float(high & 0xffff0000u);
  return {high, CvtRnBf16x2F32(second_rest, first_rest)};
}

struct SharedInputs {
  uint32_t high[kTokens][kRowPairs];
  uint32_t low[kTokens][kRowPairs];
};

struct ProductArguments {
  const uint16_t* tiles;  // HeadMatrices
  size_t head_values;
  int num_outputs;
  int num_inputs;
  int output_tiles;
  int input_tiles;
  const float* inputs;  // of the wave's first token and head 0
  size_t token_stride;
  size_t head_stride;
  int num_tokens;
};

template <int kStageInputs>
__device__ __forceinline__ void StageInputs(const ProductArguments& arguments, int head, int first_token,
                                            int first_input, SharedInputs& shared) {
  constexpr int kStagePairs = kStageInputs / 2;
  const int rows = min((arguments.num_tokens - first_token + 7) / 8 * 8, kTokens);  // whole tiles
  for (int i = threadIdx.x; i < rows * kStagePairs; i += kThreads) {
    const int row = i / kStagePairs, pair = i % kStagePairs;
    const int token = first_token + row, input = first_input + 2 * pair;
    const float* at = arguments.inputs + token * arguments.token_stride + head * arguments.head_stride + input;
    const bool inside = token < arguments.num_tokens;
    const float first = inside && input < arguments.num_inputs ? at[0] : 0.0f;
    const float second = inside && input + 1 < arguments.num_inputs ? at[1] : 0.0f;
    const SplitPair split = Split(first, second);
    shared.high[row][pair] = split.high;
    shared.low[row][pair] = split.low;
  }
}

__device__ __forceinline__ void LoadInputs(const uint32_t (&plane)[kTokens][kRowPairs], int tile, int step,
                                           uint32_t (&b)[2]) {
  const int lane = threadIdx.x % 32;
  const uint32_t* row = plane[8 * tile + lane / 4] + 8 * step + lane % 4;
  b[0] = row[0];
  b[1] = row[4];
}

// A tile of weights as this lane's registers of the A operand.
struct WeightTile {
  uint32_t registers[4];
};

__device__ __forceinline__ void LoadTile(const uint16_t* tile, WeightTile& to) {
  const uint4 words = LdGlobalNcNoAllocateV4(tile);
  to.registers[0] = words.x;
  to.registers[1] = words.y;
  to.registers[2] = words.z;
  to.registers[3] = words.w;
}

// sums[tile] = outputs [16 output_tile, +16) of tokens [first_token + 8 tile, +8), as the C operand of the mma.
template <int kPlanes>
__device__ __forceinline__ void HeadProduct(const ProductArguments& arguments, int head, int output_tile,
                                            int first_token, SharedInputs& shared, float (&sums)[kTokenTiles][4]) {
  constexpr int kSteps = kStageSteps<kPlanes>;
  const int input_tiles = arguments.input_tiles;
  const bool has_outputs = output_tile < arguments.output_tiles;
  const uint16_t* tiles = arguments.tiles + head * arguments.head_values +
                          static_cast<size_t>(output_tile) * input_tiles * kPlanes * HeadMatrices::kTileValues +
                          threadIdx.x % 32 * 8;
  for (int first_tile = 0; first_tile < input_tiles; first_tile += kSteps) {
    const int steps = has_outputs ? min(input_tiles - first_tile, kSteps) : 0;
    // All of the stage's weights are asked for before anything waits.
    WeightTile weights[kSteps][kPlanes];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int plane = 0; plane < kPlanes; ++plane) {
        const size_t tile = static_cast<size_t>(first_tile + step) * kPlanes + plane;
        if (step < steps) LoadTile(tiles + tile * HeadMatrices::kTileValues, weights[step][plane]);
      }
    }
    StageInputs<kSteps * HeadMatrices::kTile>(arguments, head, first_token, first_tile * HeadMatrices::kTile, shared);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step >= steps) continue;
#pragma unroll
      for (int tile = 0; tile < kTokenTiles; ++tile) {
        if (first_token + 8 * tile >= arguments.num_tokens) continue;
        uint32_t high[2], low[2];
        LoadInputs(shared.high, tile, step, high);
        LoadInputs(shared.low, tile, step, low);
        MmaM16N8K16Bf16(sums[tile], weights[step][0].registers, high);
        MmaM16N8K16Bf16(sums[tile], weights[step][0].registers, low);
        if constexpr (kPlanes == 2) MmaM16N8K16Bf16(sums[tile], weights[step][1].registers, high);
      }
    }
    __syncthreads();  // the inputs may be overwritten
  }
}

// Calls store(token, output, value) for this thread's sums.
template <class Store>
__device__ __forceinline__ void StoreSums(const ProductArguments& arguments, int output_tile, int first_token,
                                          const float (&sums)[kTokenTiles][4], const Store& store) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = first_token + 8 * tile + 2 * (lane % 4) + i % 2;
      const int output = HeadMatrices::kTile * output_tile + lane / 4 + 8 * (i / 2);
      if (token < arguments.num_tokens && output < arguments.num_outputs) store(token, output, sums[tile][i]);
    }
  }
}

struct AbsorbArguments {
  ProductArguments product;
  uint16_t* high;  // [tokens][heads][key_stride]
  uint16_t* low;
  int num_heads;
  int nope_width;
  int rope_width;
  int key_stride;
};

__device__ __forceinline__ void StoreSplit(const AbsorbArguments& arguments, int token, int head, int column,
                                           float value) {
  const size_t at = (static_cast<size_t>(token) * arguments.num_heads + head) * arguments.key_stride + column;
  const SplitPair split = Split(value, 0.0f);
  arguments.high[at] = static_cast<uint16_t>(split.high);
  arguments.low[at] = static_cast<uint16_t>(split.low);
}

// The queries' rotated part follows the absorbed one; zeros fill the row up.
__device__ __forceinline__ void CopyRotated(const AbsorbArguments& arguments, int head, int first_token) {
  const ProductArguments& product = arguments.product;
  const int latent_width = product.num_outputs, width = arguments.key_stride - latent_width;
  const int count = min(product.num_tokens - first_token, kTokens);
  for (int i = threadIdx.x; i < count * width; i += kThreads) {
    const int token = first_token + i / width, column = i % width;
    const float* rotated =
        product.inputs + token * product.token_stride + head * product.head_stride + arguments.nope_width;
    const float value = column < arguments.rope_width ? rotated[column] : 0.0f;
    StoreSplit(arguments, token, head, latent_width + column, value);
  }
}

// Grid: groups of 8 output tiles and one for the rotated part, heads, groups of 32 tokens.
template <int kPlanes>
__global__ void __launch_bounds__(kThreads) AbsorbQueriesKernel(const AbsorbArguments arguments) {
  __shared__ SharedInputs shared;
  const int head = blockIdx.y, first_token = blockIdx.z * kTokens;
  if (blockIdx.x == gridDim.x - 1) return CopyRotated(arguments, head, first_token);
  const int output_tile = blockIdx.x * kWarps + threadIdx.x / 32;
  float sums[kTokenTiles][4] = {};
  HeadProduct<kPlanes>(arguments.product, head, output_tile, first_token, shared, sums);
  StoreSums(arguments.product, output_tile, first_token, sums,
            [&](int token, int output, float value) { StoreSplit(arguments, token, head, output, value); });
}

struct ExpandArguments {
  ProductArguments product;
  float* out;  // of the wave's first token
  size_t out_stride;
};

// Grid: groups of 8 output tiles, heads, groups of 32 tokens.
template <int kPlanes>
__global__ void __launch_bounds__(kThreads) ExpandValuesKernel(const ExpandArguments arguments) {
  __shared__ SharedInputs shared;
  const int head = blockIdx.y, first_token = blockIdx.z * kTokens;
  const int output_tile = blockIdx.x * kWarps + threadIdx.x / 32;
  float sums[kTokenTiles][4] = {};
  HeadProduct<kPlanes>(arguments.product, head, output_tile, first_token, shared, sums);
  float* out = arguments.out + head * arguments.product.num_outputs;
  StoreSums(arguments.product, output_tile, first_token, sums,
            [&](int token, int output, float value) { out[token * arguments.out_stride + output] = value; });
}

struct ProductInputs {
  const float* values;  // of the wave's first token and head 0
  size_t token_stride;
  size_t head_stride;
};

ProductArguments ArgumentsOf(const HeadMatrices& matrices, const ProductInputs& inputs, int num_tokens) {
  return {.tiles = matrices.tiles,
          .head_values = matrices.head_values(),
          .num_outputs = matrices.outputs,
          .num_inputs = matrices.inputs,
          .output_tiles = matrices.output_tiles(),
          .input_tiles = matrices.input_tiles(),
          .inputs = inputs.values,
          .token_stride = inputs.token_stride,
          .head_stride = inputs.head_stride,
          .num_tokens = num_tokens};
}

dim3 GridOf(const ProductArguments& product, int num_heads, int extra_groups) {
  const int groups = (product.output_tiles + kWarps - 1) / kWarps + extra_groups;
  return dim3(static_cast<unsigned>(groups), static_cast<unsigned>(num_heads),
              static_cast<unsigned>((product.num_tokens + kTokens - 1) / kTokens));
}

}  // namespace

void AbsorbQueries(cudaStream_t stream, const AttendWave& wave) {
  const AttendCall& call = wave.call;
  const ProductInputs queries = {.values = call.q.Row(wave.first_token),
                                 .token_stride = static_cast<size_t>(call.q.stride),
                                 .head_stride = static_cast<size_t>(call.shape.query_width())};
  const AbsorbArguments arguments = {.product = ArgumentsOf(call.up.key, queries, wave.num_tokens),
                                     .high = wave.scratch.queries_high,
                                     .low = wave.scratch.queries_low,
                                     .num_heads = call.shape.num_heads,
                                     .nope_width = call.shape.nope_width,
                                     .rope_width = call.shape.rope_width,
                                     .key_stride = call.plan.key_stride};
  const auto kernel = call.up.key.planes == 1 ? AbsorbQueriesKernel<1> : AbsorbQueriesKernel<2>;
  kernel<<<GridOf(arguments.product, call.shape.num_heads, 1), kThreads, 0, stream>>>(arguments);
  CheckLaunch("AbsorbQueries");
}

void ExpandValues(cudaStream_t stream, const AttendWave& wave) {
  const AttendCall& call = wave.call;
  const auto latent_stride = static_cast<size_t>(call.plan.latent_stride);
  const ProductInputs means = {
      .values = wave.scratch.latents,
      .token_stride = latent_stride * static_cast<size_t>(call.shape.num_heads) * static_cast<size_t>(wave.num_ranges),
      .head_stride = latent_stride};
  const ExpandArguments arguments = {.product = ArgumentsOf(call.up.value, means, wave.num_tokens),
                                     .out = call.out.Row(wave.first_token),
                                     .out_stride = static_cast<size_t>(call.out.stride)};
  const auto kernel = call.up.value.planes == 1 ? ExpandValuesKernel<1> : ExpandValuesKernel<2>;
  kernel<<<GridOf(arguments.product, call.shape.num_heads, 0), kThreads, 0, stream>>>(arguments);
  CheckLaunch("ExpandValues");
}

}  // namespace latentd::cuda

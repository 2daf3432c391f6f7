// Products with weights. A warp holds 32 outputs (two 16-row operands of mma.m16n8k16) against one or four tiles of
// eight tokens; weights go from global memory to registers, 16 bytes a load, and never through shared memory, since
// each byte is used once per tile. Inputs come in blocks of 128: a block is summed into fp32 accumulators from zero,
// then total = fma(scale, sum, total). Blocks come in up to eight ranges, fixed by the number of inputs alone; each
// range has its own total, and an output is the sum of the ranges' totals in ascending order. The warps of a thread
// block either take one range each (few outputs or tokens: more loads in flight) or all ranges of different outputs
// (they share the activations in L1); the bits are the same. Columns of an mma do not see each other, and a column
// beyond the last token repeats that token's row, so neither tile size nor company changes a row.
//
// Bytes: weight once per 32 tokens (from L2 after the first), activations 4 bytes an input (1 for codes) per 32
// outputs, from L2. FLOPs: 2 * tokens * outputs * inputs, twice that on tensor cores for split activations.
// Bound: weight bytes / bandwidth up to about 16 tokens, then L2, from about 200 tokens tensor cores.
#include <algorithm>

#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/linear.h"

namespace latentd::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kOperands = 2;  // of 16 outputs
constexpr int kWarpOutputs = 16 * kOperands;
constexpr int kTileTokens = 8;
constexpr int kManyTiles = 4;
constexpr int kPieceBytes = 64;  // of a weight's row: 16 for each of the lanes that share it
constexpr int kMaxRanges = 8;
constexpr int kMultiprocessors = 132;  // of an H100; decides between two ways to the same bits

// The operands and the result of a product.
struct Product {
  const std::byte* weight;
  const float* weight_scales;
  size_t row_bytes;
  int scale_stride;
  int outputs;
  int blocks;  // of 128 inputs
  FragmentRows x;
  float* out;
  int out_stride;
  int rows;  // where there are no groups
  RowGroups groups;
  int range_blocks;
  int split_warps;  // warps that share their outputs: as many as there are ranges, or 1
};

// The operands of a kernel. A piece is 64 bytes of a weight's row, 16 for each lane % 4.
template <DType kDType, bool kCodes>
struct Format {
  static constexpr DType kWeight = kDType;
  static constexpr bool kActivationCodes = kCodes;
  static constexpr bool kScaled = kDType == DType::kE4M3;
  static constexpr int kPieces = kDType == DType::kE4M3 ? 2 : 4;  // per block of 128 inputs
  static constexpr int kSteps = 8 / kPieces;                      // mma of 16 inputs, per piece
  static constexpr int kPieceActivations = (kCodes ? kBlockInputs : kBlockBytes) / kPieces;  // bytes
};

// A warp's weight rows, 16 bytes in each: this lane has rows lane/4 + 8*r.
struct Piece {
  uint4 rows[2 * kOperands];
};

__device__ __forceinline__ uint32_t Word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

__device__ __forceinline__ void LoadPiece(const std::byte* const (&rows)[2 * kOperands], int index, Piece& piece) {
#pragma unroll
  for (int r = 0; r < 2 * kOperands; ++r) {
    piece.rows[r] = LdGlobalNcNoAllocateV4(rows[r] + static_cast<size_t>(index) * kPieceBytes);
  }
}

// The A operand of 16 outputs for one step of a piece.
template <class F>
__device__ __forceinline__ void Operand(const Piece& piece, int operand, int step, uint32_t (&a)[4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint4& row = piece.rows[2 * operand + half];
    if (F::kWeight == DType::kE4M3) {
      const uint32_t codes = Word(row, step);
      a[half] = CvtRnF16x2E4m3x2(LowerHalf(codes));
      a[half + 2] = CvtRnF16x2E4m3x2(UpperHalf(codes));
    } else {
      a[half] = Word(row, 2 * step);
      a[half + 2] = Word(row, 2 * step + 1);
    }
  }
}

template <class F>
__device__ __forceinline__ void Mma(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  if (F::kWeight == DType::kE4M3) {
    MmaM16N8K16F16(sums, a, b);
  } else {
    MmaM16N8K16Bf16(sums, a, b);
  }
}

template <int kTiles>
using Sums = float[kOperands][kTiles][4];

template <int kTiles>
__device__ __forceinline__ void SetZero(Sums<kTiles>& sums) {
#pragma unroll
  for (int i = 0; i < kOperands * kTiles * 4; ++i) sums[i / (4 * kTiles)][i / 4 % kTiles][i % 4] = 0.0f;
}

// The tokens of a warp's columns, as this lane needs them: of column lane/4 the activations, of columns 2*(lane%4) and
// the next the scales.
template <int kTiles>
struct Columns {
  const std::byte* x[kTiles];
  const float* scales[kTiles][2];
  int tiles;  // that hold tokens
};

// sums += piece times activations. `x_offset` is where the piece's inputs begin in a row of activations.
template <class F, int kTiles>
__device__ __forceinline__ void MultiplyPiece(const Piece& piece, size_t x_offset, const Columns<kTiles>& columns,
                                              Sums<kTiles>& sums) {
  uint4 codes[kTiles];
#pragma unroll
  for (int step = 0; step < F::kSteps; ++step) {
    uint32_t a[kOperands][4];
#pragma unroll
    for (int operand = 0; operand < kOperands; ++operand) Operand<F>(piece, operand, step, a[operand]);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      if (kTiles > 1 && tile >= columns.tiles) continue;
      if (F::kActivationCodes) {
        if (step == 0) codes[tile] = *reinterpret_cast<const uint4*>(columns.x[tile] + x_offset);
        const uint32_t four = Word(codes[tile], step);
        const uint32_t b0 = CvtRnF16x2E4m3x2(LowerHalf(four)), b1 = CvtRnF16x2E4m3x2(UpperHalf(four));
#pragma unroll
        for (int operand = 0; operand < kOperands; ++operand) Mma<F>(sums[operand][tile], a[operand], b0, b1);
      } else {
        const uint4 halves = *reinterpret_cast<const uint4*>(columns.x[tile] + x_offset + 64 * step);
#pragma unroll
        for (int operand = 0; operand < kOperands; ++operand) {
          Mma<F>(sums[operand][tile], a[operand], halves.x, halves.y);
          Mma<F>(sums[operand][tile], a[operand], halves.z, halves.w);
        }
      }
    }
  }
}

// totals = fma(weight scale * activation scale, sums, totals).
template <class F, int kTiles>
__device__ __forceinline__ void Promote(const Sums<kTiles>& sums, float weight_scale, int block,
                                        const Columns<kTiles>& columns, Sums<kTiles>& totals) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    if (kTiles > 1 && tile >= columns.tiles) continue;
    float scales[2] = {1.0f, 1.0f};
    if (F::kScaled) {
      scales[0] = weight_scale * columns.scales[tile][0][block];
      scales[1] = weight_scale * columns.scales[tile][1][block];
    }
#pragma unroll
    for (int operand = 0; operand < kOperands; ++operand) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        totals[operand][tile][i] = fmaf(scales[i % 2], sums[operand][tile][i], totals[operand][tile][i]);
      }
    }
  }
}

// Adds a range's totals to this lane's places of the warp's partial outputs, and sets them back to zero.
template <int kTiles>
__device__ __forceinline__ void EndRange(Sums<kTiles>& totals, float* partial, int lane) {
#pragma unroll
  for (int i = 0; i < kOperands * kTiles * 4; ++i) {
    float& total = totals[i / (4 * kTiles)][i / 4 % kTiles][i % 4];
    partial[32 * i + lane] += total;
    total = 0.0f;
  }
}

// The products of one warp's outputs over blocks [begin, end). Two pieces are in registers; each is loaded anew, from
// two pieces further on, as soon as it was used.
template <class F, int kTiles>
__device__ __forceinline__ void MultiplyBlocks(const std::byte* const (&rows)[2 * kOperands],
                                               const float* weight_scales, const Columns<kTiles>& columns, int begin,
                                               int end, int range_blocks, float* partial, int lane) {
  Sums<kTiles> totals;
  SetZero<kTiles>(totals);
  Piece pieces[2];
  LoadPiece(rows, begin * F::kPieces, pieces[0]);
  LoadPiece(rows, begin * F::kPieces + 1, pieces[1]);
  int left_in_range = range_blocks;
  for (int block = begin; block < end; ++block) {
    Sums<kTiles> sums;
    SetZero<kTiles>(sums);
#pragma unroll
    for (int i = 0; i < F::kPieces; ++i) {
      const int piece = block * F::kPieces + i;
      MultiplyPiece<F, kTiles>(pieces[i % 2], static_cast<size_t>(piece) * F::kPieceActivations, columns, sums);
      if (piece + 2 < end * F::kPieces) LoadPiece(rows, piece + 2, pieces[i % 2]);
    }
    Promote<F, kTiles>(sums, F::kScaled ? weight_scales[block] : 1.0f, block, columns, totals);
    if (--left_in_range == 0 || block + 1 == end) {
      EndRange<kTiles>(totals, partial, lane);
      left_in_range = range_blocks;
    }
  }
}

// fp32 weights go through plain fused multiply-adds, k ascending; a lane computes what it would hold of an mma's sums.
// Meant for routers and small models.
template <int kTiles>
__device__ __forceinline__ void MultiplyFloats(const std::byte* const (&rows)[2 * kOperands],
                                               const std::byte* const (&x)[kTiles][2], int begin, int end,
                                               int range_blocks, float* partial, int lane) {
  Sums<kTiles> totals;
  SetZero<kTiles>(totals);
  int left_in_range = range_blocks;
  for (int block = begin; block < end; ++block) {
    Sums<kTiles> sums;
    SetZero<kTiles>(sums);
    for (int quad = 0; quad < kBlockInputs / 4; ++quad) {
      const size_t at = static_cast<size_t>(block) * kBlockBytes + 16 * quad;
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int column = 0; column < 2; ++column) {
          const float4 value = *reinterpret_cast<const float4*>(x[tile][column] + at);
#pragma unroll
          for (int r = 0; r < 2 * kOperands; ++r) {
            const float4 weight = __ldg(reinterpret_cast<const float4*>(rows[r] + at));
            float& sum = sums[r / 2][tile][2 * (r % 2) + column];
            sum = fmaf(weight.x, value.x, sum);
            sum = fmaf(weight.y, value.y, sum);
            sum = fmaf(weight.z, value.z, sum);
            sum = fmaf(weight.w, value.w, sum);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kOperands * kTiles * 4; ++i) {
      totals[i / (4 * kTiles)][i / 4 % kTiles][i % 4] += sums[i / (4 * kTiles)][i / 4 % kTiles][i % 4];
    }
    if (--left_in_range == 0 || block + 1 == end) {
      EndRange<kTiles>(totals, partial, lane);
      left_in_range = range_blocks;
    }
  }
}

// Where a thread block's rows of x and out are.
struct BlockRows {
  const RowGroups& groups;
  RowTile tile;

  __device__ __forceinline__ size_t Permuted(int index) const {
    return static_cast<size_t>(tile.first + min(index, tile.count - 1));
  }
  __device__ __forceinline__ size_t X(int index) const {
    return groups.x_rows == nullptr ? Permuted(index) : static_cast<size_t>(groups.x_rows[Permuted(index)]);
  }
  __device__ __forceinline__ size_t Out(int index) const {
    return groups.out_rows == nullptr ? Permuted(index) : static_cast<size_t>(groups.out_rows[Permuted(index)]);
  }
};

template <class F, int kTiles>
__device__ __forceinline__ void MultiplyWarp(const Product& p, const BlockRows& block_rows, int first_output, int split,
                                             float* partial, int lane) {
  const int begin = split * p.range_blocks;
  const int end = p.split_warps == 1 ? p.blocks : min(begin + p.range_blocks, p.blocks);
  if (begin >= end) return;
  const size_t expert_offset = static_cast<size_t>(block_rows.tile.expert) * p.groups.expert_bytes;
  const std::byte* rows[2 * kOperands];
#pragma unroll
  for (int r = 0; r < 2 * kOperands; ++r) {
    // Rows beyond the last repeat it: their outputs are not stored.
    const auto output = static_cast<size_t>(min(first_output + 8 * r + lane / 4, p.outputs - 1));
    rows[r] = p.weight + expert_offset + output * p.row_bytes;
    if (F::kWeight != DType::kF32) rows[r] += 16 * (lane % 4);
  }
  if constexpr (F::kWeight == DType::kF32) {
    const std::byte* x[kTiles][2];
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      x[i / 2][i % 2] = p.x.values + block_rows.X(kTileTokens * (i / 2) + 2 * (lane % 4) + i % 2) * p.x.stride;
    }
    MultiplyFloats<kTiles>(rows, x, begin, end, p.range_blocks, partial, lane);
  } else {
    Columns<kTiles> columns;
    columns.tiles = (block_rows.tile.count + kTileTokens - 1) / kTileTokens;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      columns.x[tile] = p.x.values + block_rows.X(kTileTokens * tile + lane / 4) * p.x.stride + 16 * (lane % 4);
      if constexpr (F::kScaled) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          columns.scales[tile][i] =
              p.x.scales + block_rows.X(kTileTokens * tile + 2 * (lane % 4) + i) * p.x.scale_stride;
        }
      }
    }
    const float* scales = nullptr;
    if (F::kScaled) {
      scales = reinterpret_cast<const float*>(reinterpret_cast<const std::byte*>(p.weight_scales) + expert_offset) +
               static_cast<size_t>(first_output / kBlockInputs) * p.scale_stride;
    }
    MultiplyBlocks<F, kTiles>(rows, scales, columns, begin, end, p.range_blocks, partial, lane);
  }
}

template <class F, int kTiles>
__global__ void __launch_bounds__(kThreads, kTiles == 1 ? 2 : 1) MultiplyKernel(const Product p) {
  static_assert(F::kPieces * F::kSteps == 8 && F::kPieceActivations > 0);
  static_assert(F::kScaled || !F::kActivationCodes, "codes need scales");
  constexpr int kSums = kOperands * kTiles * 4;  // per lane
  __shared__ float partials[kWarps][kSums * 32];
  RowTile tile = {0, static_cast<int>(blockIdx.x) * kTileTokens * kTiles, 0};
  if (p.groups.tiles == nullptr) {
    tile.count = min(kTileTokens * kTiles, p.rows - tile.first);
  } else {
    if (static_cast<int>(blockIdx.x) >= *p.groups.num_tiles) return;
    tile = p.groups.tiles[blockIdx.x];
  }
  const BlockRows block_rows = {p.groups, tile};
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int split = warp % p.split_warps, sharing = warp - split;  // the first of the warps with these outputs
  const int first_output =
      (static_cast<int>(blockIdx.y) * (kWarps / p.split_warps) + warp / p.split_warps) * kWarpOutputs;
#pragma unroll
  for (int i = 0; i < kSums; ++i) partials[warp][32 * i + lane] = 0.0f;
  if (first_output < p.outputs) {
    MultiplyWarp<F, kTiles>(p, block_rows, first_output, split, partials[warp], lane);
  }
  __syncthreads();
  for (int i = split; i < kSums; i += p.split_warps) {
    const int token = i / 4 % kTiles * kTileTokens + 2 * (lane % 4) + i % 2;
    const int output = first_output + i / (4 * kTiles) * 16 + i % 4 / 2 * 8 + lane / 4;
    if (token >= tile.count || output >= p.outputs) continue;
    float sum = 0.0f;
    for (int s = 0; s < p.split_warps; ++s) sum += partials[sharing + s][32 * i + lane];
    p.out[block_rows.Out(token) * p.out_stride + output] = sum;
  }
}

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// The most ranges (1, 2, 4 or 8) of equal length that leave at most a quarter of it idle. Part of the numerics: it may
// depend on the number of inputs only.
int RangeBlocks(int blocks) {
  int ranges = kMaxRanges;
  while (4 * (CeilDiv(blocks, ranges) * ranges - blocks) > blocks) ranges /= 2;
  return CeilDiv(blocks, ranges);
}

int PowerOfTwoRanges(int blocks, int range_blocks) {
  int ranges = 1;
  while (ranges * range_blocks < blocks) ranges *= 2;
  return ranges;
}

template <class F, int kTiles>
void Launch(cudaStream_t stream, Product& p, int row_tiles, int typical_row_tiles) {
  const int ranges = PowerOfTwoRanges(p.blocks, p.range_blocks);
  const bool enough = CeilDiv(p.outputs, kWarps * kWarpOutputs) * typical_row_tiles >= kMultiprocessors;
  p.split_warps = kTiles > 1 && enough ? 1 : ranges;
  const int block_outputs = kWarps / p.split_warps * kWarpOutputs;
  const dim3 grid(static_cast<unsigned>(row_tiles), static_cast<unsigned>(CeilDiv(p.outputs, block_outputs)));
  MultiplyKernel<F, kTiles><<<grid, kThreads, 0, stream>>>(p);
  CheckLaunch("MultiplyKernel");
}

template <class F>
void Dispatch(cudaStream_t stream, Product& p) {
  if (p.groups.tiles != nullptr) {
    const int typical = p.rows / p.groups.tile_rows;
    if (p.groups.tile_rows > kTileTokens) {
      Launch<F, kManyTiles>(stream, p, p.groups.max_tiles, typical);
    } else {
      Launch<F, 1>(stream, p, p.groups.max_tiles, typical);
    }
  } else if (p.rows > kTileTokens) {
    const int tiles = CeilDiv(p.rows, kManyTiles * kTileTokens);
    Launch<F, kManyTiles>(stream, p, tiles, tiles);
  } else {
    Launch<F, 1>(stream, p, 1, 1);
  }
}

void Start(cudaStream_t stream, const FragmentRows& x, const MatrixView& w, const RowGroups& groups,
           const Tensor& out) {
  if (out.rows == 0) return;
  Product p = {.weight = static_cast<const std::byte*>(w.values),
               .weight_scales = w.scales,
               .row_bytes = static_cast<size_t>(w.stride) * SizeOf(w.dtype),
               .scale_stride = w.scale_stride,
               .outputs = w.outputs,
               .blocks = CeilDiv(w.inputs, kBlockInputs),
               .x = x,
               .out = out.values,
               .out_stride = out.stride,
               .rows = out.rows,
               .groups = groups,
               .range_blocks = RangeBlocks(CeilDiv(w.inputs, kBlockInputs)),
               .split_warps = 1};
  if (w.dtype == DType::kE4M3) {
    if (x.codes) return Dispatch<Format<DType::kE4M3, true>>(stream, p);
    return Dispatch<Format<DType::kE4M3, false>>(stream, p);
  }
  if (w.dtype == DType::kBf16) return Dispatch<Format<DType::kBf16, false>>(stream, p);
  Dispatch<Format<DType::kF32, false>>(stream, p);
}

}  // namespace

void Multiply(cudaStream_t stream, const FragmentRows& x, const MatrixView& w, Tensor out) {
  Start(stream, x, w, {}, out);
}

void MultiplyGroups(cudaStream_t stream, const FragmentRows& x, const MatrixView& w, const RowGroups& groups,
                    Tensor out) {
  Start(stream, x, w, groups, out);
}

void Linear(cudaStream_t stream, const Activation& x, const MatrixView& w, std::byte* scratch, Tensor out) {
  Multiply(stream, PrepareActivations(stream, x, w, scratch), w, out);
}

}  // namespace latentd::cuda

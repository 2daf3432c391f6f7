// Embed, GatherRows and CopyLatents: rows from one place to another.
//
// Embed and GatherRows give a group of 128 columns to each warp, 8 groups to a block: 16 bytes stored per lane.
// CopyLatents is a copy of the runtime's.
//
// Bytes per row of w values: read w * (1, 2 or 4), write 4w; no arithmetic but an FP8 row's scaling. Bound: latency.
#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroupsPerBlock = kThreads / kWarpLanes;

// Four values of a table's row from `column` on. The row is padded, so that all four may be read.
template <DType kDType>
__device__ __forceinline__ float4 DecodeFour(const MatrixView& table, int row, int column) {
  const int64_t at = static_cast<int64_t>(row) * table.stride + column;
  if constexpr (kDType == DType::kF32) {
    return *reinterpret_cast<const float4*>(static_cast<const float*>(table.values) + at);
  } else if constexpr (kDType == DType::kBf16) {
    const uint2 pairs = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(table.values) + at);
    return {__uint_as_float(pairs.x << 16), __uint_as_float(pairs.x & 0xffff0000u), __uint_as_float(pairs.y << 16),
            __uint_as_float(pairs.y & 0xffff0000u)};
  } else {
    static_assert(kDType == DType::kE4M3);
    const uint32_t codes = *reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(table.values) + at);
    const uint32_t low = CvtRnF16x2E4m3x2(static_cast<uint16_t>(codes));
    const uint32_t high = CvtRnF16x2E4m3x2(static_cast<uint16_t>(codes >> 16));
    const float scale = table.scales[row / kCodeGroup * table.scale_stride + column / kCodeGroup];
    return {CvtF32F16(static_cast<uint16_t>(low)) * scale, CvtF32F16(static_cast<uint16_t>(low >> 16)) * scale,
            CvtF32F16(static_cast<uint16_t>(high)) * scale, CvtF32F16(static_cast<uint16_t>(high >> 16)) * scale};
  }
}

template <DType kDType, int kVector>
__global__ void __launch_bounds__(kThreads) EmbedGroups(const int32_t* token_ids, MatrixView table, Tensor out) {
  const int row = static_cast<int>(blockIdx.x);
  const int column = LaneColumn(static_cast<int>(blockIdx.y) * kGroupsPerBlock + Warp());
  if (column >= out.width) return;
  StoreFour<kVector>(DecodeFour<kDType>(table, token_ids[row], column), RowOf(out, row), column, out.width);
}

template <int kVector>
__global__ void __launch_bounds__(kThreads) GatherGroups(Tensor x, const int32_t* rows, Tensor out) {
  const int row = static_cast<int>(blockIdx.x);
  const int column = LaneColumn(static_cast<int>(blockIdx.y) * kGroupsPerBlock + Warp());
  StoreFour<kVector>(LoadFour<kVector>(RowOf(x, rows[row]), column, x.width), RowOf(out, row), column, x.width);
}

dim3 GridOver(const Tensor& out) {
  const int blocks_per_row = (NumGroups(out.width) + kGroupsPerBlock - 1) / kGroupsPerBlock;
  return {static_cast<unsigned>(out.rows), static_cast<unsigned>(blocks_per_row)};
}

template <DType kDType>
void LaunchEmbed(cudaStream_t stream, const int32_t* token_ids, const MatrixView& table, Tensor out) {
  const auto kernel = out.width % 4 == 0 ? EmbedGroups<kDType, 4> : EmbedGroups<kDType, 1>;
  kernel<<<GridOver(out), kThreads, 0, stream>>>(token_ids, table, out);
  CheckLaunch("EmbedGroups");
}

}  // namespace

void Embed(cudaStream_t stream, const int32_t* token_ids, const MatrixView& table, Tensor out) {
  CHECK_EQ(out.width, table.inputs);
  CHECK_GE(table.stride, (table.inputs + kLaneValues - 1) / kLaneValues * kLaneValues);
  CHECK_EQ(static_cast<size_t>(table.stride) * SizeOf(table.dtype) % 16, size_t{0});
  if (out.rows == 0) return;
  switch (table.dtype) {
    case DType::kF32:
      return LaunchEmbed<DType::kF32>(stream, token_ids, table, out);
    case DType::kBf16:
      return LaunchEmbed<DType::kBf16>(stream, token_ids, table, out);
    case DType::kE4M3:
      return LaunchEmbed<DType::kE4M3>(stream, token_ids, table, out);
    case DType::kE8M0:
    case DType::kInt4:
      CHECK(false && "no table has that type");
  }
}

void GatherRows(cudaStream_t stream, Tensor x, const int32_t* rows, Tensor out) {
  CHECK_EQ(out.width, x.width);
  if (out.rows == 0) return;
  const auto kernel = x.width % 4 == 0 ? GatherGroups<4> : GatherGroups<1>;
  kernel<<<GridOver(out), kThreads, 0, stream>>>(x, rows, out);
  CheckLaunch("GatherGroups");
}

void CopyLatents(cudaStream_t stream, const LatentPages& pages, int from, int to, int count) {
  CHECK(from + count <= to || to + count <= from);
  cudaMemcpyAsync(pages.Slot(to), pages.Slot(from), static_cast<size_t>(count) * pages.slot_bytes(),
                  cudaMemcpyDeviceToDevice, stream);
  CheckLaunch("CopyLatents");
}

}  // namespace latentd::cuda

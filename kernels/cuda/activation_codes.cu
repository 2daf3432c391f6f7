// FP8 codes of values that the verb which made them could not code: a group of 128 columns may hold several heads of
// AttendLatent, which different blocks compute.
//
// One warp per group, 8 groups per block. Bytes per row of w values: read 4w, write w + w/32. About 3w FLOPs. Bound:
// memory (16384 wide: 82 KB, 24 ns of 3.35 TB/s per row), launch latency for few rows.
#include <cstdint>

#include "kernels/cuda/row.cuh"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroupsPerBlock = kThreads / kWarpLanes;

template <int kVector>
__global__ void __launch_bounds__(kThreads) CodeGroups(Activation activation) {
  const int row = static_cast<int>(blockIdx.x), width = activation.values.width;
  const int group = static_cast<int>(blockIdx.y) * kGroupsPerBlock + Warp();
  if (group >= NumGroups(width)) return;
  StoreCodes(LoadFour<kVector>(RowOf(activation.values, row), LaneColumn(group), width), activation, row, group);
}

}  // namespace

void FillCodes(cudaStream_t stream, const Activation& activation) {
  const Tensor& values = activation.values;
  if (activation.codes == nullptr || values.rows == 0) return;
  const int blocks_per_row = (NumGroups(values.width) + kGroupsPerBlock - 1) / kGroupsPerBlock;
  const dim3 grid(static_cast<unsigned>(values.rows), static_cast<unsigned>(blocks_per_row));
  const auto kernel = values.width % 4 == 0 ? CodeGroups<4> : CodeGroups<1>;
  kernel<<<grid, kThreads, 0, stream>>>(activation);
  CheckLaunch("CodeGroups");
}

}  // namespace latentd::cuda

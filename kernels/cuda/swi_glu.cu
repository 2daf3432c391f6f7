// SwiGlu, with or without FP8 codes of the result.
//
// One warp per group of 128 columns, 8 groups per block. silu(g) = g / (1 + exp(-g)) in fp32, exp within 2 units in the
// last place; exp overflows to infinity below g = -88.7, where the result, at most 3e-37, becomes zero.
//
// Bytes per row of w values: read 8w, write 4w, codes w + w/32. About 12w FLOPs. Bound: memory (2048 wide: 25 KB, 7 ns
// of 3.35 TB/s per row), latency for few rows.
#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroupsPerBlock = kThreads / kWarpLanes;

__device__ __forceinline__ float SiluTimes(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

template <int kVector>
__global__ void __launch_bounds__(kThreads) SwiGluGroups(Tensor gate, Tensor up, Activation out) {
  const int row = static_cast<int>(blockIdx.x), width = gate.width;
  const int group = static_cast<int>(blockIdx.y) * kGroupsPerBlock + Warp();
  if (group >= NumGroups(width)) return;
  const int column = LaneColumn(group);
  const float4 g = LoadFour<kVector>(RowOf(gate, row), column, width);
  const float4 u = LoadFour<kVector>(RowOf(up, row), column, width);
  const float4 four = {SiluTimes(g.x, u.x), SiluTimes(g.y, u.y), SiluTimes(g.z, u.z), SiluTimes(g.w, u.w)};
  StoreFour<kVector>(four, RowOf(out.values, row), column, width);
  if (out.codes != nullptr) StoreCodes(four, out, row, group);
}

}  // namespace

void SwiGlu(cudaStream_t stream, Tensor gate, Tensor up, const Activation& out) {
  CHECK(up.rows == gate.rows && up.width == gate.width);
  CHECK(out.values.rows == gate.rows && out.values.width == gate.width);
  if (gate.rows == 0) return;
  const int blocks_per_row = (NumGroups(gate.width) + kGroupsPerBlock - 1) / kGroupsPerBlock;
  const dim3 grid(static_cast<unsigned>(gate.rows), static_cast<unsigned>(blocks_per_row));
  const auto kernel = gate.width % 4 == 0 ? SwiGluGroups<4> : SwiGluGroups<1>;
  kernel<<<grid, kThreads, 0, stream>>>(gate, up, out);
  CheckLaunch("SwiGluGroups");
}

}  // namespace latentd::cuda

// Activations into the order and the halves in which products read them (fragments.cuh): a warp per row and block of
// 128 inputs. Bytes: 4 read and 4 written per input, 4 per block for E4M3 weights. FLOPs: 6 per input. Bound: launch
// latency up to some hundred rows, then bandwidth.
#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/fragments.h"

namespace latentd::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;

// One warp per row and block of 128 inputs.
template <DType kWeight>
__global__ void __launch_bounds__(kThreads) SplitKernel(Tensor x, FragmentRows to, int blocks) {
  const int item = (static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x)) / 32;
  const int row = item / blocks, block = item % blocks, quad = static_cast<int>(threadIdx.x) % 32;
  if (row >= x.rows) return;
  const int first = block * kBlockInputs + FirstInputOfQuad<kWeight>(quad);
  const float* from = x.values + static_cast<size_t>(row) * static_cast<size_t>(x.stride) + first;
  float4 values = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (first + 3 < x.width) {
    values = *reinterpret_cast<const float4*>(from);
  } else {
    if (first < x.width) values.x = from[0];
    if (first + 1 < x.width) values.y = from[1];
    if (first + 2 < x.width) values.z = from[2];
  }
  StoreQuad<kWeight>(values, quad, to.values + static_cast<size_t>(row) * to.stride + block * kBlockBytes,
                     to.scales + static_cast<size_t>(row) * to.scale_stride + block);
}

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

FragmentRows FragmentsAt(std::byte* memory, int rows, int inputs) {
  const int blocks = CeilDiv(inputs, kBlockInputs);
  const size_t values = static_cast<size_t>(rows) * static_cast<size_t>(blocks) * kBlockBytes;
  return {.values = memory,
          .scales = reinterpret_cast<float*>(memory + values),
          .stride = blocks * kBlockBytes,
          .scale_stride = blocks};
}

}  // namespace

size_t FragmentBytes(int max_rows, int max_inputs) {
  const auto blocks = static_cast<size_t>(CeilDiv(max_inputs, kBlockInputs));
  return static_cast<size_t>(max_rows) * blocks * (kBlockBytes + sizeof(float));
}

FragmentRows PrepareActivations(cudaStream_t stream, const Activation& x, const MatrixView& w, std::byte* scratch) {
  if (x.codes != nullptr && w.dtype == DType::kE4M3) {
    return {.values = reinterpret_cast<std::byte*>(x.codes),
            .scales = x.scales,
            .stride = x.code_stride(),
            .scale_stride = x.num_groups(),
            .codes = true};
  }
  const FragmentRows to = FragmentsAt(scratch, x.values.rows, w.inputs);
  if (x.values.rows == 0) return to;
  const int blocks = CeilDiv(w.inputs, kBlockInputs);
  const auto grid = static_cast<unsigned>(CeilDiv(x.values.rows * blocks, kWarps));
  if (w.dtype == DType::kE4M3) {
    SplitKernel<DType::kE4M3><<<grid, kThreads, 0, stream>>>(x.values, to, blocks);
  } else if (w.dtype == DType::kBf16) {
    SplitKernel<DType::kBf16><<<grid, kThreads, 0, stream>>>(x.values, to, blocks);
  } else {
    SplitKernel<DType::kF32><<<grid, kThreads, 0, stream>>>(x.values, to, blocks);
  }
  CheckLaunch("SplitKernel");
  return to;
}

}  // namespace latentd::cuda

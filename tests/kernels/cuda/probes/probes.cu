// The probes' kernels. All take words and give words; one warp runs them.
#include <cuda_runtime_api.h>

#include "base/check.h"
#include "kernels/cuda/ptx.cuh"
#include "tests/kernels/cuda/probes/probes.h"

namespace latentd::probes {
namespace {

using namespace latentd::cuda;

using Kernel = void (*)(const uint32_t* in, uint32_t* out, int words_out);

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x); }

__global__ void SharedAddressKernel(const uint32_t*, uint32_t* out, int) {
  __shared__ uint32_t words[kLanes];
  out[Lane()] = SharedAddress(&words[Lane()]) - SharedAddress(&words[0]);
}

__global__ void CpAsyncCg16Kernel(const uint32_t* in, uint32_t* out, int) {
  __shared__ alignas(16) uint32_t rows[kLanes][4];
  for (int i = 0; i < 4; ++i) rows[Lane()][i] = kUnwritten;
  __syncthreads();
  CpAsyncCg16(rows[Lane()], in + Lane() * 4, in[kLanes * 4 + Lane()]);
  CpAsyncCommitGroup();
  CpAsyncWaitGroup<0>();
  for (int i = 0; i < 4; ++i) out[Lane() * 4 + i] = rows[Lane()][i];
}

// The neighbour's copies are read after a barrier, the lane's own copies as soon as they have been waited for.
__global__ void CpAsyncWaitGroupKernel(const uint32_t* in, uint32_t* out, int) {
  __shared__ alignas(16) uint32_t rows[2][kLanes][4];
  for (int group = 0; group < 2; ++group) {
    CpAsyncCg16(rows[group][Lane()], in + (group * kLanes + Lane()) * 4, 16);
    CpAsyncCommitGroup();
  }
  CpAsyncWaitGroup<1>();
  for (int i = 0; i < 4; ++i) out[Lane() * 4 + i] = rows[0][Lane()][i];
  CpAsyncWaitGroup<0>();
  __syncthreads();
  const int other = Lane() ^ 1;
  for (int i = 0; i < 4; ++i) out[(kLanes + other) * 4 + i] = rows[1][other][i];
}

enum class Order { kPlain, kTransposed };

template <Order kOrder>
__global__ void LdmatrixX4Kernel(const uint32_t* in, uint32_t* out, int) {
  __shared__ alignas(16) uint32_t rows[kLanes][4];
  for (int i = 0; i < 4; ++i) rows[Lane()][i] = in[Lane() * 4 + i];
  __syncthreads();
  const uint32_t* row = rows[in[kLanes * 4 + Lane()]];
  uint32_t matrices[4];
  if constexpr (kOrder == Order::kPlain) LdmatrixX4(row, matrices);
  if constexpr (kOrder == Order::kTransposed) LdmatrixX4Trans(row, matrices);
  for (int i = 0; i < 4; ++i) out[Lane() * 4 + i] = matrices[i];
}

enum class Halves { kBf16, kF16 };

template <Halves kHalves>
__global__ void MmaKernel(const uint32_t* in, uint32_t* out, int) {
  uint32_t a[4], b[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) a[i] = in[Lane() * 4 + i];
  for (int i = 0; i < 2; ++i) b[i] = in[kLanes * 4 + Lane() * 2 + i];
  for (int i = 0; i < 4; ++i) sums[i] = __uint_as_float(in[kLanes * 6 + Lane() * 4 + i]);
  if constexpr (kHalves == Halves::kBf16) MmaM16N8K16Bf16(sums, a, b);
  if constexpr (kHalves == Halves::kF16) MmaM16N8K16F16(sums, a, b);
  for (int i = 0; i < 4; ++i) out[Lane() * 4 + i] = __float_as_uint(sums[i]);
}

__global__ void CvtRnF16x2E4m3x2Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) out[i] = CvtRnF16x2E4m3x2(static_cast<uint16_t>(in[i]));
}

__global__ void CvtRnSatfiniteE4m3x2F32Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) {
    out[i] = CvtRnSatfiniteE4m3x2F32(__uint_as_float(in[2 * i]), __uint_as_float(in[2 * i + 1]));
  }
}

__global__ void CvtRnBf16x2F32Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) {
    out[i] = CvtRnBf16x2F32(__uint_as_float(in[2 * i]), __uint_as_float(in[2 * i + 1]));
  }
}

__global__ void CvtRnF16x2F32Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) {
    out[i] = CvtRnF16x2F32(__uint_as_float(in[2 * i]), __uint_as_float(in[2 * i + 1]));
  }
}

__global__ void CvtF32F16Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) {
    out[i] = __float_as_uint(CvtF32F16(static_cast<uint16_t>(in[i])));
  }
}

__global__ void Ex2ApproxKernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane(); i < words_out; i += kLanes) out[i] = __float_as_uint(Ex2Approx(__uint_as_float(in[i])));
}

__global__ void LdGlobalNcNoAllocateV4Kernel(const uint32_t* in, uint32_t* out, int words_out) {
  for (int i = Lane() * 4; i < words_out; i += kLanes * 4) {
    *reinterpret_cast<uint4*>(out + i) = LdGlobalNcNoAllocateV4(in + i);
  }
}

Kernel KernelOf(Probe probe) {
  switch (probe) {
    case Probe::kSharedAddress:
      return SharedAddressKernel;
    case Probe::kCpAsyncCg16:
      return CpAsyncCg16Kernel;
    case Probe::kCpAsyncWaitGroup:
      return CpAsyncWaitGroupKernel;
    case Probe::kLdmatrixX4:
      return LdmatrixX4Kernel<Order::kPlain>;
    case Probe::kLdmatrixX4Trans:
      return LdmatrixX4Kernel<Order::kTransposed>;
    case Probe::kMmaM16N8K16Bf16:
      return MmaKernel<Halves::kBf16>;
    case Probe::kMmaM16N8K16F16:
      return MmaKernel<Halves::kF16>;
    case Probe::kCvtRnF16x2E4m3x2:
      return CvtRnF16x2E4m3x2Kernel;
    case Probe::kCvtRnSatfiniteE4m3x2F32:
      return CvtRnSatfiniteE4m3x2F32Kernel;
    case Probe::kCvtRnBf16x2F32:
      return CvtRnBf16x2F32Kernel;
    case Probe::kCvtRnF16x2F32:
      return CvtRnF16x2F32Kernel;
    case Probe::kCvtF32F16:
      return CvtF32F16Kernel;
    case Probe::kEx2Approx:
      return Ex2ApproxKernel;
    case Probe::kLdGlobalNcNoAllocateV4:
      return LdGlobalNcNoAllocateV4Kernel;
  }
  return nullptr;
}

void Check(cudaError_t error) { CHECK_EQ(cudaGetErrorName(error), cudaGetErrorName(cudaSuccess)); }

}  // namespace

std::vector<uint32_t> RunProbe(Probe probe, const std::vector<uint32_t>& words, size_t words_out) {
  std::vector<uint32_t> result(words_out, kUnwritten);
  const size_t bytes_in = words.size() * sizeof(uint32_t), bytes_out = words_out * sizeof(uint32_t);
  cudaStream_t stream = nullptr;
  uint32_t *in = nullptr, *out = nullptr;
  Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  Check(cudaMalloc(&in, bytes_in + sizeof(uint32_t)));
  Check(cudaMalloc(&out, bytes_out));
  Check(cudaMemcpyAsync(in, words.data(), bytes_in, cudaMemcpyHostToDevice, stream));
  Check(cudaMemcpyAsync(out, result.data(), bytes_out, cudaMemcpyHostToDevice, stream));
  KernelOf(probe)<<<1, kLanes, 0, stream>>>(in, out, static_cast<int>(words_out));
  Check(cudaGetLastError());
  Check(cudaMemcpyAsync(result.data(), out, bytes_out, cudaMemcpyDeviceToHost, stream));
  Check(cudaStreamSynchronize(stream));
  Check(cudaFree(in));
  Check(cudaFree(out));
  Check(cudaStreamDestroy(stream));
  return result;
}

}  // namespace latentd::probes

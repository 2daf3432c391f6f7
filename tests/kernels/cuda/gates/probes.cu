// Kernels that each contain one kind of instruction, compiled by the nvcc that compiles the real kernels: opcodes.py
// learns from them which numbers this toolkit gives those instructions. No kernel here is ever launched. The inline PTX
// is on purpose not that of kernels/cuda: a mistake there must not teach the gates.
#include <cstdint>

#define PROBE extern "C" __global__ void __launch_bounds__(128)

namespace {

__device__ unsigned SharedAddress(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

}  // namespace

// What any kernel may contain: its opcodes belong to no label.
PROBE probe_plain(float* out, const float* in, int count, int step) {
  const int first = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0.0f;
  for (int i = first; i < count; i += step) {
    const float value = in[static_cast<size_t>(i) * count];
    if (value > 0.0f && (i & 3) != step % 5) sum = sum * 0.5f + value;
  }
  out[static_cast<size_t>(first) << (step & 3)] = fminf(sum, static_cast<float>(step));
}

PROBE probe_store(float* out) { out[threadIdx.x] = 1.0f; }

PROBE probe_load_128(float4* out, const float4* in) {
  const float4 value = in[threadIdx.x];
  out[threadIdx.x] = make_float4(value.w, value.x, value.y, value.z);
}

PROBE probe_load_64(float2* out, const float2* in) {
  const float2 value = in[threadIdx.x];
  out[threadIdx.x] = make_float2(value.y, value.x);
}

PROBE probe_load_32(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x ^ 1]; }

// Loads and shared stores without a global store: what is loaded ends in an atomic.
PROBE probe_load_only(int* out, const int* in) { atomicAdd(out, in[threadIdx.x]); }
PROBE probe_shared_store_only() {
  extern __shared__ int shared_ints[];
  reinterpret_cast<volatile int*>(shared_ints)[threadIdx.x] = 3;
}

// Generic pointers, which may be global or shared.
PROBE probe_generic_load(float* out, const float* in) {
  extern __shared__ float shared_floats[];
  const float* from = blockIdx.x % 2 ? in : shared_floats;
  out[threadIdx.x] = from[threadIdx.x];
}
PROBE probe_generic_store(float* out) {
  extern __shared__ float shared_floats[];
  float* to = blockIdx.x % 2 ? out : shared_floats;
  to[threadIdx.x] = 1.0f;
}

PROBE probe_shared_128(float4* out) {
  __shared__ float4 shared[128];
  shared[threadIdx.x] = out[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

PROBE probe_shared_32(float* out) {
  __shared__ float shared[128];
  shared[threadIdx.x] = out[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

// An array indexed by what only the run knows: it has to live in local memory.
PROBE probe_local(float* out, int count) {
  float values[64];
  for (int i = 0; i < 64; ++i) values[i] = out[i];
  for (int i = 0; i < count; ++i) values[i * 7 & 63] += values[i * 13 & 63];
  for (int i = 0; i < 64; ++i) out[i] = values[i];
}

PROBE probe_local_store(int index) {
  volatile float values[8];
  values[index & 7] = 1.0f;
}

// 1024 threads leave 64 registers; 96 values live at once do not fit.
extern "C" __global__ void __launch_bounds__(1024, 1) probe_spill(float* out, const float* in, int count) {
  float values[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) values[i] = in[threadIdx.x + i * 1024];
  for (int k = 0; k < count; ++k) {
#pragma unroll
    for (int i = 0; i < 96; ++i) values[i] = values[i] * values[(i + 1) % 96] + in[k];
  }
#pragma unroll
  for (int i = 0; i < 96; ++i) out[threadIdx.x + i * 1024] = values[i];
}

PROBE probe_copy_async(float4* out, const float4* in) {
  extern __shared__ float4 dynamic_shared[];
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(dynamic_shared + threadIdx.x)),
               "l"(in + threadIdx.x)
               : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  out[threadIdx.x] = dynamic_shared[threadIdx.x ^ 1];
}

PROBE probe_copy_wait(float4* out, const float4* in) {
  asm volatile("cp.async.commit_group;" ::: "memory");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  out[threadIdx.x] = in[threadIdx.x];
}

PROBE probe_load_matrix(uint4* out) {
  __shared__ uint4 shared[128];
  shared[threadIdx.x] = out[threadIdx.x];
  __syncthreads();
  uint4 r;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "r"(SharedAddress(shared + threadIdx.x)));
  out[threadIdx.x] = r;
}

#define MMA(name, shape_and_types)                                                                                  \
  PROBE name(float* out, const uint32_t* in) {                                                                      \
    float d[4] = {};                                                                                                \
    uint32_t r[6];                                                                                                  \
    _Pragma("unroll") for (int i = 0; i < 6; ++i) r[i] = in[32 * i + threadIdx.x];                                  \
    asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"       \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                   \
                 : "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]), "r"(r[4]), "r"(r[5]));                               \
    _Pragma("unroll") for (int i = 0; i < 4; ++i) out[128 * i + threadIdx.x] = d[i];                                \
  }
MMA(probe_mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
MMA(probe_mma_f16, "m16n8k16.row.col.f32.f16.f16.f32")

PROBE probe_shuffle(float* out) { out[threadIdx.x] = __shfl_xor_sync(~0u, out[threadIdx.x], 1); }

PROBE probe_exp2(float* out) {
  float y;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(out[threadIdx.x]));
  out[threadIdx.x] = y;
}

// Each result of double arithmetic is stored as it is, so that no probe needs a second kind of instruction.
PROBE probe_double_add(double* out) { out[threadIdx.x] = out[threadIdx.x] + out[threadIdx.x + 128]; }
PROBE probe_double_multiply(double* out) { out[threadIdx.x] = out[threadIdx.x] * out[threadIdx.x + 128]; }
PROBE probe_double_fma(double* out) {
  out[threadIdx.x] = fma(out[threadIdx.x], out[threadIdx.x + 128], out[threadIdx.x + 256]);
}
PROBE probe_double_compare(int* out, const double* in) { out[threadIdx.x] = in[threadIdx.x] < in[threadIdx.x + 128]; }
PROBE probe_double_from_float(double* out, const float* in) { out[threadIdx.x] = in[threadIdx.x]; }
PROBE probe_double_to_float(float* out, const double* in) { out[threadIdx.x] = static_cast<float>(in[threadIdx.x]); }
PROBE probe_double_from_int(double* out, const int* in) { out[threadIdx.x] = in[threadIdx.x]; }
PROBE probe_double_to_int(int* out, const double* in) { out[threadIdx.x] = static_cast<int>(in[threadIdx.x]); }

PROBE probe_atomic_float(float* out) { atomicAdd(out + threadIdx.x, 1.5f); }
PROBE probe_atomic_float_result(float* out) { out[threadIdx.x + 128] = atomicAdd(out + threadIdx.x, 1.5f); }
PROBE probe_atomic_int(int* out) { atomicAdd(out + threadIdx.x, 3); }
PROBE probe_atomic_int_result(int* out) { out[threadIdx.x + 128] = atomicAdd(out + threadIdx.x, 3); }

// Conversions that float code is full of: they must not be taken for double arithmetic.
PROBE probe_conversions(int* out, const float* in, uint16_t* halves) {
  const float value = in[threadIdx.x];
  out[threadIdx.x] = static_cast<int>(value) + __float2int_rn(value);
  out[threadIdx.x + 128] = __float_as_int(rintf(value) + static_cast<float>(out[threadIdx.x + 256]));
  uint16_t half;
  asm volatile("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  halves[threadIdx.x] = half;
  uint16_t codes;
  asm volatile("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(value), "f"(value + 1.0f));
  uint32_t pair;
  asm volatile("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(codes));
  halves[threadIdx.x + 256] = static_cast<uint16_t>(pair >> 16);
  asm volatile("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(value), "f"(value + 2.0f));
  halves[threadIdx.x + 384] = static_cast<uint16_t>(pair >> 16);
  float back;
  asm volatile("cvt.f32.f16 %0, %1;" : "=f"(back) : "h"(halves[threadIdx.x + 128]));
  out[threadIdx.x + 512] = __float_as_int(back / value + sqrtf(value) + rsqrtf(back));
}

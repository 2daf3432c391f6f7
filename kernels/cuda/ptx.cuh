// The inline PTX of all kernels: one function per instruction, named as the instruction. Device code only.
// tests/kernels/cuda/probes compares each with a scalar reading of the PTX ISA. Fragment layouts, lane = threadIdx %
// 32:
//   A 16x16  registers 0..3 hold rows lane/4 + 8*(r&1), columns 2*(lane%4) + 8*(r>>1) and the next
//   B 16x8   registers 0..1 hold rows 2*(lane%4) + 8*r and the next, column lane/4
//   C 16x8   values 0..3 lie at row lane/4 + 8*(v>>1), column 2*(lane%4) + (v&1)
#pragma once

#include <cstdint>

namespace latentd::cuda {

// Where a pointer into shared memory lies in the shared window, as ldmatrix and cp.async want it.
__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// cp.async.cg.shared.global: starts copying 16 bytes past L1; those from source_bytes (0..16) on become zero. Both
// addresses are multiples of 16. With source_bytes 0 the source is not read, but has to be a valid address still.
__device__ __forceinline__ void CpAsyncCg16(void* shared, const void* global, uint32_t source_bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)), "l"(global),
               "r"(source_bytes)
               : "memory");
}

// cp.async.commit_group: closes a group of the copies that this thread started since the last one.
__device__ __forceinline__ void CpAsyncCommitGroup() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// cp.async.wait_group: until at most kPending of this thread's newest groups are under way. Other threads see the
// bytes after a barrier only.
template <int kPending>
__device__ __forceinline__ void CpAsyncWaitGroup() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ldmatrix.sync.aligned.m8n8: each register gets one 8x8 matrix of 16-bit values: row lane/4, columns 2*(lane%4) and
// the next. Lane 8*m + r gives the address of row r (16 aligned bytes) of matrix m.
__device__ __forceinline__ void LdmatrixX4(const void* row, uint32_t (&matrices)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// .trans: the register gets rows 2*(lane%4) and the next, of column lane/4.
__device__ __forceinline__ void LdmatrixX4Trans(const void* row, uint32_t (&matrices)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// mma.sync.aligned.m16n8k16: sums += A B in fp32, A [16, 16] by rows and B [16, 8] by columns.
__device__ __forceinline__ void MmaM16N8K16Bf16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void MmaM16N8K16F16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// cvt.rn.f16x2.e4m3x2: two E4M3 codes to two halves, exactly. The low byte becomes the low half.
__device__ __forceinline__ uint32_t CvtRnF16x2E4m3x2(uint16_t codes) {
  uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(codes));
  return halves;
}

// cvt.rn.satfinite.e4m3x2.f32: nearest even; beyond 448 saturates, NaN gives 0x7f. `low` becomes the low byte.
__device__ __forceinline__ uint16_t CvtRnSatfiniteE4m3x2F32(float high, float low) {
  uint16_t codes;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  return codes;
}

// cvt.rn.bf16x2.f32 and cvt.rn.f16x2.f32: `low` becomes the low half.
__device__ __forceinline__ uint32_t CvtRnBf16x2F32(float high, float low) {
  uint32_t halves;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(high), "f"(low));
  return halves;
}

__device__ __forceinline__ uint32_t CvtRnF16x2F32(float high, float low) {
  uint32_t halves;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(high), "f"(low));
  return halves;
}

// cvt.f32.f16: exactly.
__device__ __forceinline__ float CvtF32F16(uint16_t half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}

// ex2.approx.f32: 2^x within 2^-22 of itself; subnormals are kept, -infinity gives 0.
__device__ __forceinline__ float Ex2Approx(float x) {
  float power;
  asm("ex2.approx.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// ld.global.nc.L1::no_allocate.v4: 16 aligned bytes that the kernel does not write and does not read again soon, such
// as weights.
__device__ __forceinline__ uint4 LdGlobalNcNoAllocateV4(const void* global) {
  uint4 words;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
      : "l"(global));
  return words;
}

}  // namespace latentd::cuda

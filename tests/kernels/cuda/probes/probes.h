// One kernel per function of kernels/cuda/ptx.cuh, so that each instruction can be compared with a scalar reading of
// the PTX ISA: on a GPU that shows whether we read it rightly, in the emulator whether it does what we read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace latentd::probes {

inline constexpr int kLanes = 32;

// Words in and words out. "Each" is for any number of elements, the rest for one warp, lane by lane.
enum class Probe {
  kSharedAddress,            // nothing -> each lane: bytes from the array's begin to its word
  kCpAsyncCg16,              // [32][4] source, [32] source_bytes -> [32][4] what shared memory holds
  kCpAsyncWaitGroup,         // [2][32] groups of [4] -> the same, the first read while the second may be under way
  kLdmatrixX4,               // [32][4] rows of shared memory, [32] row that the lane names -> [32][4]
  kLdmatrixX4Trans,          // the same -> [32][4]
  kMmaM16N8K16Bf16,          // [32][4] a, [32][2] b, [32][4] sums -> [32][4] sums
  kMmaM16N8K16F16,           // the same
  kCvtRnF16x2E4m3x2,         // each: two codes -> two halves
  kCvtRnSatfiniteE4m3x2F32,  // each: high, low -> two codes
  kCvtRnBf16x2F32,           // each: high, low -> two halves
  kCvtRnF16x2F32,            // each: high, low -> two halves
  kCvtF32F16,                // each: a half -> fp32
  kEx2Approx,                // each: fp32 -> fp32
  kLdGlobalNcNoAllocateV4,   // each [4] -> the same
};

// Runs one warp on the current device. Words that the kernel does not write are kUnwritten.
inline constexpr uint32_t kUnwritten = 0xDEADBEEFu;
std::vector<uint32_t> RunProbe(Probe probe, const std::vector<uint32_t>& words, size_t words_out);

}  // namespace latentd::probes

// AttendLatent on the device: absorbs the queries, attends over the paged latents range by range, merges the ranges and
// expands the values. Launchers only; the memory and the classes around them are CudaOps'.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/batch.h"
#include "kernels/cuda/attend_plan.h"
#include "kernels/cuda/key_value_up.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

// A wave's part of the scratch memory, laid out as AttendPlan says.
struct AttendScratch {
  AttendScratch(const AttendPlan& plan, std::byte* memory);  // plan.bytes() at 256-byte alignment

  uint16_t* queries_high = nullptr;
  uint16_t* queries_low = nullptr;
  float* latents = nullptr;
  float* maxima = nullptr;
  float* sums = nullptr;
};

struct AttendCall {
  Tensor q;    // [tokens, num_heads * (nope_width + rope_width)], rotated
  Tensor out;  // [tokens, num_heads * value_width]
  KeyValueUpMatrices up;
  AttentionShape shape;
  float scale = 1.0f;
  Batch batch;
  LatentPages pages;  // bf16 or FP8
  AttendPlan plan;
  std::byte* scratch = nullptr;
};

// Once per process, before the first call: allows the kernels their shared memory.
cudaError_t PrepareAttendLatent();

// out of a token whose slot is kNoSlot is 0.
void AttendLatent(cudaStream_t stream, const AttendCall& call);

// The steps of one wave: tokens [first_token, first_token + num_tokens), num_ranges ranges for each.
struct AttendWave {
  const AttendCall& call;
  AttendScratch scratch;
  int first_token = 0;
  int num_tokens = 0;
  int num_ranges = 0;
};
void AbsorbQueries(cudaStream_t stream, const AttendWave& wave);  // q to scratch queries
void AttendRanges(cudaStream_t stream, const AttendWave& wave);   // queries and pages to latents, maxima, sums
void MergeRanges(cudaStream_t stream, const AttendWave& wave);    // to latents of range 0
void ExpandValues(cudaStream_t stream, const AttendWave& wave);   // latents of range 0 to out

}  // namespace latentd::cuda

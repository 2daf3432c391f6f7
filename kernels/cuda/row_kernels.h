// Launchers of the verbs that treat each row by itself; kernels/ops.h says what each computes. Rows of a tensor are
// 16-byte aligned, and so are the weights of norms. Nothing waits: results are there once the stream has come so far.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

// norm.cu. out.values may be x.
void RmsNorm(cudaStream_t stream, Tensor x, const float* weight, float epsilon, const Activation& out);
void AddRmsNorm(cudaStream_t stream, Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out);

// swi_glu.cu. out.values may be gate or up.
void SwiGlu(cudaStream_t stream, Tensor gate, Tensor up, const Activation& out);

// activation_codes.cu. From the values; nothing where the activation has no room for codes.
void FillCodes(cudaStream_t stream, const Activation& activation);

// copy.cu. token_ids [out.rows]. Table rows are padded to whole 16 bytes.
void Embed(cudaStream_t stream, const int32_t* token_ids, const MatrixView& table, Tensor out);
void GatherRows(cudaStream_t stream, Tensor x, const int32_t* rows, Tensor out);
// The two ranges may not overlap.
void CopyLatents(cudaStream_t stream, const LatentPages& pages, int from, int to, int count);

// rope.cu. positions, slots [tokens].
void RotateQueries(cudaStream_t stream, const int32_t* positions, const RopeTable& rope, const AttentionShape& shape,
                   Tensor q);
// pages hold bf16 or FP8; slots below zero store nothing.
void AppendLatent(cudaStream_t stream, Tensor kv, const float* weight, float epsilon, const int32_t* positions,
                  const int32_t* slots, const RopeTable& rope, const LatentPages& pages);

}  // namespace latentd::cuda

// The CPU kernels, one entry per verb, dispatched at run time to the best instruction set (Highway). CpuOps checks
// shapes and owns the scratch memory; these compute. Item numbers are dealt by the pool; thread numbers pick scratch.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "kernels/batch.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

class AttentionScratch;  // kernels/cpu/attention_scratch.h
class SampleScratch;     // kernels/cpu/sample_scratch.h

void RmsNorm(ThreadPool& pool, Tensor x, const float* weight, float epsilon, const Activation& out);
void AddRmsNorm(ThreadPool& pool, Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out);
void SwiGlu(ThreadPool& pool, Tensor gate, Tensor up, const Activation& out);
void RotateQueries(ThreadPool& pool, const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q);
void AppendLatent(ThreadPool& pool, const AttentionScratch& scratch, Tensor kv, const float* weight, float epsilon,
                  const Batch& batch, const RopeTable& rope, LatentPages pages);
void AttendLatent(ThreadPool& pool, AttentionScratch& scratch, Tensor q, const Matrix& key_value_up,
                  const AttentionShape& shape, float scale, const Batch& batch, LatentPages pages, Tensor out);
void RouteExperts(ThreadPool& pool, Tensor logits, const float* bias, const RoutingRule& rule, Routing routing);
void Sample(ThreadPool& pool, SampleScratch& scratch, Tensor logits, std::span<const SampleRow> rows,
            std::span<SampleResult> results);

}  // namespace latentd::cpu

// Group-limited top-k choice of experts (docs/spec/deepseek.md 3.6): a warp per token, up to 16 experts per lane in
// registers, expert e in lane e % 32. Each choice is one search for the largest value over the warp, ties to the lower
// index. Groups need their members together, so with groups the values also go through shared memory.
//
// Bytes per token: read 4 * num_experts, write 8 * experts per token. FLOPs: about 20 * num_experts for the scores, and
// 12 shuffles per choice of an expert or a group. Bound: latency, 2 to 4 microseconds for any number of tokens in
// decode. exp within 2 units in the last place.
#include "base/check.h"
#include "kernels/cuda/route_experts.h"

namespace latentd::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr float kLowest = -1e38f;  // of what may be chosen: above kMasked, and so is the sum of two

__device__ __forceinline__ float Masked() { return __uint_as_float(0xff800000u); }  // -infinity

// Up to 32 * kPerLane values of a warp, the one with index i in lane i % 32.
template <int kPerLane>
using Values = float[kPerLane];

template <int kPerLane>
__device__ __forceinline__ int Largest(const Values<kPerLane>& values, int lane) {
  float best = values[0];
  int index = lane;
#pragma unroll
  for (int i = 1; i < kPerLane; ++i) {
    if (values[i] > best) {
      best = values[i];
      index = lane + 32 * i;
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, best, distance);
    const int other_index = __shfl_xor_sync(kAllLanes, index, distance);
    if (other > best || (other == best && other_index < index)) {
      best = other;
      index = other_index;
    }
  }
  return index;
}

__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// Scores in place of logits; values behind the last expert stay unused.
template <int kPerLane>
__device__ __forceinline__ void Score(const RoutingRule& rule, Values<kPerLane>& values, int lane) {
  if (rule.score == ExpertScore::kSigmoid) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) values[i] = 1.0f / (1.0f + expf(-values[i]));
    return;
  }
  float max = Masked();
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (lane + 32 * i < rule.num_experts) max = fmaxf(max, values[i]);
  }
  max = WarpMax(max);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    values[i] = expf(values[i] - max);
    if (lane + 32 * i < rule.num_experts) sum += values[i];
  }
  sum = WarpSum(sum);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) values[i] /= sum;
}

__device__ __forceinline__ float ScoreOfGroup(const float* choice, int count, GroupScore score) {
  float first = Masked(), second = Masked();
  for (int i = 0; i < count; ++i) {
    second = fmaxf(second, fminf(first, choice[i]));
    first = fmaxf(first, choice[i]);
  }
  return score == GroupScore::kMax || count == 1 ? first : first + second;
}

// Masks the experts of all groups but the best. `memory` holds 32 * kPerLane values for this warp alone.
template <int kPerLane>
__device__ __forceinline__ void KeepBestGroups(const RoutingRule& rule, Values<kPerLane>& choice, float* memory,
                                               int lane) {
  const int size = rule.num_experts / rule.num_groups;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) memory[lane + 32 * i] = choice[i];
  __syncwarp();
  Values<kPerLane> scores;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int group = lane + 32 * i;
    scores[i] = group < rule.num_groups ? ScoreOfGroup(memory + group * size, size, rule.group_score) : Masked();
  }
  unsigned kept = 0;  // bit i: the group lane + 32 * i
  for (int n = 0; n < rule.groups_per_token; ++n) {
    const int best = Largest<kPerLane>(scores, lane);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (lane + 32 * i != best) continue;
      scores[i] = Masked();
      kept |= 1u << i;
    }
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int group = (lane + 32 * i) / size;
    const unsigned kept_there = __shfl_sync(kAllLanes, kept, group % 32);
    if ((kept_there >> (group / 32) & 1u) == 0) choice[i] = Masked();
  }
}

template <int kPerLane>
__global__ void __launch_bounds__(kThreads)
    RouteKernel(Tensor logits, const float* bias, RoutingRule rule, Routing routing) {
  __shared__ float memory[kWarps][32 * kPerLane];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(blockIdx.x) * kWarps + warp;
  if (row >= logits.rows) return;
  const float* row_logits = logits.values + static_cast<size_t>(row) * static_cast<size_t>(logits.stride);
  Values<kPerLane> scores, choice;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int expert = lane + 32 * i;
    scores[i] = expert < rule.num_experts ? row_logits[expert] : 0.0f;
  }
  Score<kPerLane>(rule, scores, lane);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int expert = lane + 32 * i;
    choice[i] = Masked();
    if (expert >= rule.num_experts) continue;
    const float score = bias == nullptr ? scores[i] : scores[i] + bias[expert];
    choice[i] = score > kLowest ? score : kLowest;  // NaN as well: a bad row still gets distinct experts
  }
  if (rule.num_groups > 1) KeepBestGroups<kPerLane>(rule, choice, memory[warp], lane);
  float sum = 0.0f, weight = 0.0f;  // lane k keeps the k-th choice
  int expert = 0;
  for (int k = 0; k < rule.experts_per_token; ++k) {
    const int best = Largest<kPerLane>(choice, lane);
    float score = 0.0f;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (lane + 32 * i != best) continue;
      score = scores[i];
      choice[i] = Masked();
    }
    score = __shfl_sync(kAllLanes, score, best % 32);
    sum += score;
    if (lane == k) {
      weight = score;
      expert = best;
    }
  }
  if (lane >= rule.experts_per_token) return;
  if (rule.normalize && rule.experts_per_token > 1) weight /= sum + 1e-20f;
  const size_t at = static_cast<size_t>(row) * static_cast<size_t>(routing.experts_per_token) + lane;
  routing.experts[at] = expert;
  routing.weights[at] = weight * rule.scale;
}

template <int kPerLane>
void Launch(cudaStream_t stream, Tensor logits, const float* bias, const RoutingRule& rule, const Routing& routing) {
  const int blocks = (logits.rows + kWarps - 1) / kWarps;
  RouteKernel<kPerLane><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(logits, bias, rule, routing);
  CheckLaunch("RouteKernel");
}

}  // namespace

void RouteExperts(cudaStream_t stream, Tensor logits, const float* bias, const RoutingRule& rule,
                  const Routing& routing) {
  CHECK_EQ(routing.rows, logits.rows);
  CHECK_LE(rule.num_experts, kMaxRoutedExperts);
  CHECK_LE(rule.experts_per_token, kMaxExpertsPerToken);
  CHECK_LE(rule.experts_per_token, rule.num_experts / rule.num_groups * rule.groups_per_token);
  if (logits.rows == 0) return;
  if (rule.num_experts <= 64) return Launch<2>(stream, logits, bias, rule, routing);
  if (rule.num_experts <= 256) return Launch<8>(stream, logits, bias, rule, routing);
  Launch<16>(stream, logits, bias, rule, routing);
}

}  // namespace latentd::cuda

// Group-limited top-k choice of experts, one token per item (docs/spec/deepseek.md 3.6).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/route_experts.cc"
#include <limits>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/verbs.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

HWY_INLINE void SigmoidScores(const float* logits, int count, float* scores) {
  for (int i = 0; i < count; i += kLanes) {
    StoreUpTo(Sigmoid(LoadUpTo(logits + i, count - i)), scores + i, count - i);
  }
}

HWY_INLINE void SoftmaxScores(const float* logits, int count, float* scores) {
  float max = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < count; ++i) {
    if (logits[i] > max) max = logits[i];
  }
  HWY_ALIGN float lanes[kVirtualLanes] = {};
  for (int i = 0; i < count; i += kLanes) {
    StoreUpTo(Exp(hn::Sub(LoadUpTo(logits + i, count - i), Set(max))), scores + i, count - i);
  }
  for (int i = 0; i < count; ++i) lanes[i % kVirtualLanes] += scores[i];
  const float sum = TreeSum(lanes);
  for (int i = 0; i < count; ++i) scores[i] /= sum;
}

void ExpertScores(const float* logits, const RoutingRule& rule, float* scores) {
  if (rule.score == ExpertScore::kSigmoid) {
    SigmoidScores(logits, rule.num_experts, scores);
  } else {
    SoftmaxScores(logits, rule.num_experts, scores);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {
namespace {

HWY_EXPORT(ExpertScores);

constexpr int kMaxExperts = 1024;  // a token's scores live on the stack
static_assert(kMostExperts <= kMaxExperts);
constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr float kLowest = -1e38f;  // of what may be chosen: above kMasked, and so is the sum of two

// The index of the largest value, the lowest of equals.
int Largest(const float* values, int count) {
  int best = 0;
  for (int i = 1; i < count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

float ScoreOfGroup(const float* choice, int count, GroupScore score) {
  float first = kMasked, second = kMasked;
  for (int i = 0; i < count; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else if (choice[i] > second) {
      second = choice[i];
    }
  }
  return score == GroupScore::kMax || count == 1 ? first : first + second;
}

// Masks the experts of all groups but the best.
void KeepBestGroups(const RoutingRule& rule, float* choice) {
  float scores[kMaxExperts];
  bool kept[kMaxExperts] = {};
  const int size = rule.num_experts / rule.num_groups;
  for (int g = 0; g < rule.num_groups; ++g) scores[g] = ScoreOfGroup(choice + g * size, size, rule.group_score);
  for (int n = 0; n < rule.groups_per_token; ++n) {
    const int best = Largest(scores, rule.num_groups);
    kept[best] = true;
    scores[best] = kMasked;
  }
  for (int e = 0; e < rule.num_experts; ++e) {
    if (!kept[e / size]) choice[e] = kMasked;
  }
}

void RouteToken(const float* logits, const float* bias, const RoutingRule& rule, int32_t* experts, float* weights) {
  float scores[kMaxExperts], choice[kMaxExperts];
  HWY_DYNAMIC_DISPATCH(ExpertScores)(logits, rule, scores);
  for (int e = 0; e < rule.num_experts; ++e) {
    const float score = bias == nullptr ? scores[e] : scores[e] + bias[e];
    choice[e] = score > kLowest ? score : kLowest;  // NaN as well: a bad row still gets distinct experts
  }
  if (rule.num_groups > 1) KeepBestGroups(rule, choice);
  float sum = 0.0f;
  for (int k = 0; k < rule.experts_per_token; ++k) {
    const int best = Largest(choice, rule.num_experts);
    choice[best] = kMasked;
    experts[k] = best;
    weights[k] = scores[best];
    sum += scores[best];
  }
  const bool normalize = rule.normalize && rule.experts_per_token > 1;
  for (int k = 0; k < rule.experts_per_token; ++k) {
    if (normalize) weights[k] /= sum + 1e-20f;
    weights[k] *= rule.scale;
  }
}

}  // namespace

void RouteExperts(ThreadPool& pool, Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) {
  CHECK_LE(rule.num_experts, kMaxExperts);
  CHECK_LE(rule.experts_per_token, rule.num_experts / rule.num_groups * rule.groups_per_token);
  pool.ForEach(logits.rows, [&](int row, int) {
    const auto first = static_cast<size_t>(row) * static_cast<size_t>(routing.experts_per_token);
    RouteToken(logits.Row(row), bias, rule, routing.experts + first, routing.weights + first);
  });
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE

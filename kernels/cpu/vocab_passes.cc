#include "kernels/cpu/vocab_passes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vocab_passes.cc"
#include <algorithm>
#include <limits>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

bool AllFinitePass(const float* values, int count) {
  for (int i = 0; i < count; i += kLanes) {
    if (!hn::AllTrue(kF32, hn::IsFinite(LoadUpTo(values + i, count - i)))) return false;
  }
  return true;
}

float LargestPass(const float* values, int count) {
  const float lowest = -std::numeric_limits<float>::infinity();
  Vec most = Set(lowest);
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) most = hn::Max(most, hn::LoadU(kF32, values + i));
  float largest = hn::GetLane(hn::MaxOfLanes(kF32, most));
  for (; i < count; ++i) largest = std::max(largest, values[i]);
  return largest;
}

float SumOfExpChunk(const float* values, int count, Vec largest) {
  VirtualLanes sums;
  sums.Clear();
  int i = 0;
  for (; i + kVirtualLanes <= count; i += kVirtualLanes) {
    for (int p = 0; p < kParts; ++p) {
      const Vec v = hn::LoadU(kF32, values + i + p * kLanes);
      sums.part[p] = hn::Add(sums.part[p], Exp(hn::Sub(v, largest)));
    }
  }
  for (int p = 0; p < kParts && i < count; ++p, i += kLanes) {
    HWY_ALIGN float e[kLanes];
    hn::Store(Exp(hn::Sub(LoadUpTo(values + i, count - i), largest)), kF32, e);
    for (int lane = std::max(0, count - i); lane < kLanes; ++lane) e[lane] = 0.0f;
    sums.part[p] = hn::Add(sums.part[p], hn::Load(kF32, e));
  }
  return sums.Sum();
}

double SumOfExpPass(const float* values, int count, float largest) {
  constexpr int kChunk = 256;
  double total = 0.0;
  for (int i = 0; i < count; i += kChunk) total += SumOfExpChunk(values + i, std::min(kChunk, count - i), Set(largest));
  return total;
}

void ExpWeightsPass(const float* values, int count, float largest, float temperature, float* weights) {
  for (int i = 0; i < count; i += kLanes) {
    const Vec v = hn::Div(hn::Sub(LoadUpTo(values + i, count - i), Set(largest)), Set(temperature));
    StoreUpTo(Exp(v), weights + i, count - i);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(AllFinitePass);
HWY_EXPORT(LargestPass);
HWY_EXPORT(SumOfExpPass);
HWY_EXPORT(ExpWeightsPass);

bool AllFinite(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(AllFinitePass)(values.data(), static_cast<int>(values.size()));
}

float Largest(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(LargestPass)(values.data(), static_cast<int>(values.size()));
}

double SumOfExp(std::span<const float> values, float largest) {
  return HWY_DYNAMIC_DISPATCH(SumOfExpPass)(values.data(), static_cast<int>(values.size()), largest);
}

void ExpWeights(std::span<const float> values, float largest, float temperature, std::span<float> weights) {
  HWY_DYNAMIC_DISPATCH(ExpWeightsPass)
  (values.data(), static_cast<int>(values.size()), largest, temperature, weights.data());
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE

// Between a slot of the cache in bf16 or FP8 and the floats that it stands for; compiled once per Highway target. Codes
// and halves are rounded as integers and read by shifts, so that the bits are the same for every target.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_LATENT_SLOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_LATENT_SLOT_INL_H_
#undef LATENTD_KERNELS_CPU_LATENT_SLOT_INL_H_
#else
#define LATENTD_KERNELS_CPU_LATENT_SLOT_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using IntVec = hn::Vec<I32>;
inline constexpr hn::Rebind<uint16_t, F32> kU16;

HWY_INLINE IntVec Int(int32_t value) { return hn::Set(kI32, value); }

// The next kLanes stored numbers, of which `left` exist; at any address.
template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadStored(Tag tag, const std::byte* from, int left) {
  HWY_ALIGN hn::TFromD<Tag> lanes[kLanes] = {};
  if (left >= kLanes) {
    std::memcpy(lanes, from, sizeof(lanes));
  } else {
    std::memcpy(lanes, from, static_cast<size_t>(left) * sizeof(lanes[0]));
  }
  return hn::Load(tag, lanes);
}

template <class Tag>
HWY_INLINE void StoreNumbers(Tag tag, IntVec numbers, std::byte* to, int left) {
  HWY_ALIGN hn::TFromD<Tag> lanes[kLanes];
  hn::Store(hn::DemoteTo(tag, numbers), tag, lanes);
  if (left >= kLanes) {
    std::memcpy(to, lanes, sizeof(lanes));
  } else {
    std::memcpy(to, lanes, static_cast<size_t>(left) * sizeof(lanes[0]));
  }
}

HWY_INLINE void WriteHalves(const float* values, int count, std::byte* to) {
  for (int i = 0; i < count; i += kLanes) {
    StoreNumbers(kU16, Bf16Halves(LoadUpTo(values + i, count - i)), to + 2 * i, count - i);
  }
}

HWY_INLINE void ReadHalves(const std::byte* from, int count, float* values) {
  for (int i = 0; i < count; i += kLanes) {
    const IntVec halves = hn::PromoteTo(kI32, LoadStored(kU16, from + 2 * i, count - i));
    StoreUpTo(hn::BitCast(kF32, hn::ShiftLeft<16>(halves)), values + i, count - i);
  }
}

// max(amax, 1e-4) / 448, up to a power of two; NaN where a value is not finite.
HWY_INLINE float GroupScale(const float* values, int count) {
  IntVec most = Int(std::bit_cast<int32_t>(kSmallestPeak));
  for (int i = 0; i < count; i += kLanes) {  // positive floats are ordered as their bits are, NaNs behind infinity
    most = hn::Max(most, hn::And(hn::BitCast(kI32, LoadUpTo(values + i, count - i)), Int(0x7FFFFFFF)));
  }
  const float peak = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(kI32, most)));
  if (!(peak <= std::numeric_limits<float>::max())) return std::numeric_limits<float>::quiet_NaN();
  return UpToPowerOfTwo(peak / kLargestE4M3);
}

HWY_INLINE void WriteGroup(const float* values, int count, float scale, std::byte* codes) {
  if (std::isnan(scale)) {
    std::memset(codes, 0, static_cast<size_t>(count));
    return;
  }
  const Vec factor = Set(1.0f / scale);  // exact, and so are the products
  for (int i = 0; i < count; i += kLanes) {
    const Vec scaled = hn::Mul(LoadUpTo(values + i, count - i), factor);
    StoreNumbers(kU8, CodesOf(RoundToE4M3(scaled)), codes + i, count - i);
  }
}

HWY_INLINE void ReadGroup(const std::byte* codes, int count, float scale, float* values) {
  for (int i = 0; i < count; i += kLanes) {
    const Vec stored = ValuesOfCodes(LoadStored(kU8, codes + i, count - i));
    StoreUpTo(hn::Mul(stored, Set(scale)), values + i, count - i);
  }
}

// key: slot_values() floats, those behind the rope part zero.
HWY_INLINE void WriteSlot(const LatentPages& pages, const float* key, std::byte* slot) {
  if (pages.format == LatentFormat::kBf16) return WriteHalves(key, pages.slot_values(), slot);
  std::byte* scales = slot + pages.latent_width;
  for (int group = 0; group < pages.num_groups(); ++group) {
    const int first = group * kCodeGroup, count = std::min(kCodeGroup, pages.latent_width - first);
    const float scale = GroupScale(key + first, count);
    std::memcpy(scales + static_cast<size_t>(group) * sizeof(float), &scale, sizeof(float));
    WriteGroup(key + first, count, scale, slot + first);
  }
  WriteHalves(key + pages.latent_width, pages.rope_width,
              scales + static_cast<size_t>(pages.num_groups()) * sizeof(float));
}

HWY_INLINE void ReadSlot(const LatentPages& pages, const std::byte* slot, float* key) {
  if (pages.format == LatentFormat::kBf16) return ReadHalves(slot, pages.slot_values(), key);
  const std::byte* scales = slot + pages.latent_width;
  for (int group = 0; group < pages.num_groups(); ++group) {
    const int first = group * kCodeGroup, count = std::min(kCodeGroup, pages.latent_width - first);
    float scale = 0.0f;
    std::memcpy(&scale, scales + static_cast<size_t>(group) * sizeof(float), sizeof(float));
    ReadGroup(slot + first, count, scale, key + first);
  }
  ReadHalves(scales + static_cast<size_t>(pages.num_groups()) * sizeof(float), pages.rope_width,
             key + pages.latent_width);
  std::fill(key + pages.latent_width + pages.rope_width, key + pages.slot_values(), 0.0f);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle

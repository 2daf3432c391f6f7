// The one loop that multiplies: MultiplyTile. A tile is some rows times some groups of 16 outputs whose sums stay in
// registers. Up to kStreamRows rows weights are decoded in registers as they stream by; above, 128 k of a few outputs
// are decoded into L1 once and used for all rows. Both give the same bits: every output sums k in ascending order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/multiply.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target
#include <hwy/highway.h>

#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// Sixteen outputs are a group, kParts vectors. Decode<group>(line, part) gives outputs from 16 group + kLanes part on.
// Groups that are decoded alike differ only by an offset: FirstAlike is the lowest such group, OffsetFromIt in bytes.
inline constexpr int kGroup = 16;
inline constexpr int kGroupsPerPanel = cpu::kPanelOutputs / kGroup;

struct E4M3Codec {  // gives w · 2^-8
  static constexpr bool kScaled = true;
  static constexpr int kStreamRows = 12;  // above, decoding once into L1 is cheaper than once per six rows
  static constexpr int kLineBytes = 64;
  static constexpr int kAheadBytes = 4096;
  static constexpr int FirstAlike(int group) { return group & 2; }
  static constexpr int OffsetFromIt(int group) { return (group & 1) * kGroup * 2; }
  template <int kWhich>
  static HWY_INLINE Vec Decode(const std::byte* line, int part) {
    const auto* words = reinterpret_cast<const int16_t*>(line) + kWhich % 2 * kGroup;
    auto w = hn::LoadU(kI16, words + part * kLanes);
    if constexpr (kWhich >= 2) w = hn::ShiftLeft<8>(w);
    return HalvesOfCodes(w);
  }
};

struct Bf16Codec {
  static constexpr bool kScaled = false;
  static constexpr int kStreamRows = cpu::kMaxProductRows;  // a mask or a shift: as cheap as loading it decoded
  static constexpr int kLineBytes = 128;
  static constexpr int kAheadBytes = 1024;
  static constexpr int FirstAlike(int group) { return group & 1; }
  static constexpr int OffsetFromIt(int group) { return group / 2 * kGroup * 4; }
  template <int kWhich>
  static HWY_INLINE Vec Decode(const std::byte* line, int part) {
    const auto* words = reinterpret_cast<const int32_t*>(line) + kWhich / 2 * kGroup;
    const auto w = hn::LoadU(kI32, words + part * kLanes);
    return hn::BitCast(
        kF32, kWhich % 2 == 0 ? hn::And(w, hn::Set(kI32, static_cast<int32_t>(0xFFFF0000))) : hn::ShiftLeft<16>(w));
  }
};

struct F32Codec {
  static constexpr bool kScaled = false;
  static constexpr int kStreamRows = cpu::kMaxProductRows;  // nothing to decode
  static constexpr int kLineBytes = 256;
  static constexpr int kAheadBytes = 1024;
  static constexpr int FirstAlike(int) { return 0; }
  static constexpr int OffsetFromIt(int group) { return group * kGroup * 4; }
  template <int kWhich>
  static HWY_INLINE Vec Decode(const std::byte* line, int part) {
    return hn::LoadU(kF32, reinterpret_cast<const float*>(line) + kWhich * kGroup + part * kLanes);
  }
};

// `count` consecutive k of some rows and outputs: totals[r] (+)= Σ_i x[r][first_k + i] · line i.
struct Stretch {
  const std::byte* lines = nullptr;
  size_t line_bytes = 0;
  const float* const* x = nullptr;
  int first_k = 0;
  int count = 0;
  float scale = 1.0f;
  float* totals = nullptr;
  size_t totals_stride = 0;
  const std::byte* ahead = nullptr;  // prefetched meanwhile, ahead_bytes for each k; need not be mapped
  size_t ahead_bytes = 0;
};

// Whether a stretch sums from zero (then total = fma(scale, sum, total)) or carries on from the total.
enum class Sum { kCarriesOn, kOwn };

// One k, one group of outputs, all rows of the tile. Few rows have many outputs: one weight at a time leaves registers
// for the sums. Many rows have few outputs: all weights first, then row by row.
template <class Codec, int kWhich, int kRows, int kVecs>
HWY_INLINE void MultiplyGroup(const std::byte* line, const float* const (&rows)[kRows], int k, int first,
                              Vec (&sums)[kRows][kVecs]) {
  if constexpr (kRows <= 3) {
    for (int p = 0; p < kParts; ++p) {
      const Vec w = Codec::template Decode<kWhich>(line, p);
      for (int r = 0; r < kRows; ++r) sums[r][first + p] = Fma(Set(rows[r][k]), w, sums[r][first + p]);
    }
  } else {
    Vec w[kParts];
    for (int p = 0; p < kParts; ++p) w[p] = Codec::template Decode<kWhich>(line, p);
    for (int r = 0; r < kRows; ++r) {
      const Vec x = Set(rows[r][k]);
      for (int p = 0; p < kParts; ++p) sums[r][first + p] = Fma(x, w[p], sums[r][first + p]);
    }
  }
}

// kRows rows times groups [kFirst, kFirst + kGroups) of a stretch; totals point at the first of these outputs.
template <class Codec, Sum kSum, int kRows, int kFirst, int kGroups>
HWY_NOINLINE void MultiplyTile(const Stretch& s) {
  static_assert(kGroups == 1 || kGroups == 2 || kGroups == 4);
  constexpr int kVecs = kGroups * kParts;
  Vec sums[kRows][kVecs];
  const float* rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = s.x[r] + s.first_k;
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = kSum == Sum::kOwn
                       ? hn::Zero(kF32)
                       : hn::LoadU(kF32, s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes);
  }
  const std::byte* line = s.lines;
  const std::byte* ahead = s.ahead;
  const size_t line_bytes = s.line_bytes, ahead_bytes = s.ahead_bytes;
  const int count = s.count;
#if HWY_TARGET != HWY_SCALAR
#pragma GCC unroll 8  // short loops with a mispredicted exit cost 6 % otherwise
#endif
  for (int k = 0; k < count; ++k, line += line_bytes, ahead += ahead_bytes) {
    hwy::Prefetch(ahead);
    MultiplyGroup<Codec, kFirst>(line, rows, k, 0, sums);
    if constexpr (kGroups >= 2) MultiplyGroup<Codec, kFirst + 1>(line, rows, k, kParts, sums);
    if constexpr (kGroups == 4) {
      MultiplyGroup<Codec, kFirst + 2>(line, rows, k, 2 * kParts, sums);
      MultiplyGroup<Codec, kFirst + 3>(line, rows, k, 3 * kParts, sums);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) {
      float* total = s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes;
      hn::StoreU(kSum == Sum::kOwn ? Fma(Set(s.scale), sums[r][v], hn::LoadU(kF32, total)) : sums[r][v], kF32, total);
    }
}

// Rows go in sixes (twelve sums hide the latency), but 7 = 4 + 3 and 8 = 4 + 4.
constexpr int NextRows(int num_rows) { return num_rows == 7 || num_rows == 8 ? 4 : std::min(num_rows, 6); }

// Calls Pass::Run<rows>(stretch) for each tile of rows.
template <class Pass>
HWY_INLINE void ForEachRowTile(Stretch s, int num_rows) {
  while (num_rows > 0) {
    const int rows = NextRows(num_rows);
    switch (rows) {
      case 1:
        Pass::template Run<1>(s);
        break;
      case 2:
        Pass::template Run<2>(s);
        break;
      case 3:
        Pass::template Run<3>(s);
        break;
      case 4:
        Pass::template Run<4>(s);
        break;
      case 5:
        Pass::template Run<5>(s);
        break;
      default:
        Pass::template Run<6>(s);
        break;
    }
    num_rows -= rows;
    s.x += rows;
    s.totals += static_cast<size_t>(rows) * s.totals_stride;
    s.ahead += static_cast<size_t>(s.count) * s.ahead_bytes;
  }
}

// All 64 outputs of a panel, decoded in registers, in as few passes as the registers allow.
template <class Codec>
struct StreamPass {
  static constexpr Sum kSum = Codec::kScaled ? Sum::kOwn : Sum::kCarriesOn;

  template <int kRows, int kFirst, int kGroups>
  static HWY_INLINE void Pass(Stretch s) {  // the passes over a block share its prefetches
    s.ahead_bytes = Codec::kLineBytes * kGroups / kGroupsPerPanel;
    s.ahead += static_cast<size_t>(s.count) * Codec::kLineBytes * kFirst / kGroupsPerPanel;
    s.totals += kFirst * kGroup;
    s.lines += Codec::OffsetFromIt(kFirst);
    MultiplyTile<Codec, kSum, kRows, Codec::FirstAlike(kFirst), kGroups>(s);
  }
  template <int kRows>
  static HWY_INLINE void Run(const Stretch& s) {
    constexpr int kGroups = kLanes == 16 ? 4 : kLanes < 8 ? 1 : kRows == 1 ? 4 : kRows <= 3 ? 2 : 1;
    Pass<kRows, 0, kGroups>(s);
    if constexpr (kGroups == 1) Pass<kRows, 1, 1>(s);
    if constexpr (kGroups <= 2) Pass<kRows, 2, kGroups>(s);
    if constexpr (kGroups == 1) Pass<kRows, 3, 1>(s);
  }
};

template <Sum kSum, int kGroups>
struct StripPass {
  template <int kRows>
  static HWY_INLINE void Run(const Stretch& s) {
    MultiplyTile<F32Codec, kSum, kRows, 0, kGroups>(s);
  }
};

// Groups of 16 outputs that are decoded into L1 together: 32 KiB of floats for a block with 16 lanes, else 8.
inline constexpr int kStripGroups = kLanes == 16 ? 4 : 1;

template <class Codec, int kFirst, int kGroups>
HWY_INLINE void DecodeGroups(const Stretch& s, float* strip) {
  for (int k = 0; k < s.count; ++k)
    for (int p = 0; p < kParts; ++p)
      hn::StoreU(Codec::template Decode<kFirst>(s.lines + static_cast<size_t>(k) * s.line_bytes, p), kF32,
                 strip + k * kStripGroups * kGroup + p * kLanes);
  if constexpr (kGroups > 1) DecodeGroups<Codec, kFirst + 1, kGroups - 1>(s, strip + kGroup);
}

// Groups from kFirst on as a strip in L1 that all rows use.
template <class Codec, int kFirst>
HWY_NOINLINE void DecodeAndMultiply(Stretch s, int num_rows) {
  HWY_ALIGN float strip[cpu::kScaleBlock * kStripGroups * kGroup];
  DecodeGroups<Codec, kFirst, kStripGroups>(s, strip);
  s.totals += kFirst * kGroup;
  s.lines = reinterpret_cast<const std::byte*>(strip);
  s.line_bytes = kStripGroups * kGroup * sizeof(float);
  s.ahead = s.lines;
  s.ahead_bytes = 0;
  ForEachRowTile<StripPass<StreamPass<Codec>::kSum, kStripGroups>>(s, num_rows);
}

template <class Codec>
HWY_INLINE void PanelProductAs(const cpu::PackedMatrix& w, int panel, const float* const* x, int num_rows,
                               float* totals) {
  const std::byte* lines = w.Panel(panel);
  for (int block = 0; block < w.num_blocks(); ++block) {
    const int begin = w.BlockBegin(block), end = w.BlockBegin(block + 1);
    const Stretch s{.lines = lines + static_cast<size_t>(begin) * Codec::kLineBytes,
                    .line_bytes = Codec::kLineBytes,
                    .x = x,
                    .first_k = begin,
                    .count = end - begin,
                    .scale = w.Scale(panel, block),
                    .totals = totals,
                    .totals_stride = cpu::kPanelOutputs,
                    .ahead = lines + static_cast<size_t>(begin) * Codec::kLineBytes + Codec::kAheadBytes};
    if (num_rows <= Codec::kStreamRows) {
      ForEachRowTile<StreamPass<Codec>>(s, num_rows);
    } else if constexpr (Codec::kStreamRows < cpu::kMaxProductRows) {
      DecodeAndMultiply<Codec, 0>(s, num_rows);
      if constexpr (kStripGroups == 1) {
        DecodeAndMultiply<Codec, 1>(s, num_rows);
        DecodeAndMultiply<Codec, 2>(s, num_rows);
        DecodeAndMultiply<Codec, 3>(s, num_rows);
      }
    }
  }
}

void PanelProduct(const cpu::PackedMatrix& w, int panel, const float* const* x, int num_rows, float* totals) {
  std::fill_n(totals, static_cast<size_t>(num_rows) * cpu::kPanelOutputs, 0.0f);
  switch (w.dtype()) {
    case DType::kE4M3:
      return PanelProductAs<E4M3Codec>(w, panel, x, num_rows, totals);
    case DType::kBf16:
      return PanelProductAs<Bf16Codec>(w, panel, x, num_rows, totals);
    default:
      return PanelProductAs<F32Codec>(w, panel, x, num_rows, totals);
  }
}

void StripProduct(const Strip& strip, const float* const* x, int num_rows, float* totals, size_t totals_stride) {
  Stretch s{.line_bytes = strip.stride * sizeof(float), .x = x, .count = strip.count, .totals_stride = totals_stride};
  for (int n = 0; n < strip.width;) {
    const int groups = strip.width - n >= kStripGroups * kGroup ? kStripGroups : 1;
    s.lines = reinterpret_cast<const std::byte*>(strip.values + n);
    s.totals = totals + n;
    s.ahead = s.lines;
    if (strip.next != nullptr) {
      const size_t steps = static_cast<size_t>((num_rows + 5) / 6) * static_cast<size_t>(strip.count);
      s.ahead = strip.next + strip.next_bytes * static_cast<size_t>(n) / static_cast<size_t>(strip.width);
      s.ahead_bytes =
          strip.next_bytes * static_cast<size_t>(groups * kGroup) / static_cast<size_t>(strip.width) / steps;
    }
    if (groups == kStripGroups) {
      ForEachRowTile<StripPass<Sum::kCarriesOn, kStripGroups>>(s, num_rows);
    } else {
      ForEachRowTile<StripPass<Sum::kCarriesOn, 1>>(s, num_rows);
    }
    n += groups * kGroup;
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

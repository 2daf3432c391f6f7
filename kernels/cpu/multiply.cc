// The loops that multiply: a tile is some rows times some groups of 16 outputs whose sums stay in registers. For few
// rows weights are decoded in registers as they stream by; above, 128 k of a few outputs are decoded into L1 once and
// used for all rows. Both give the same bits, since every output has its own order of k (docs/spec/numerics.md):
//   a32  k ascending into one sum for each block of k
//   a16  the even and the odd k of each 32 into two sums, whose total is added to the block's
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/multiply.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target
#include <hwy/highway.h>

#include "kernels/cpu/flush_subnormals.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/multiply_tile-inl.h"
#include "kernels/cpu/tiles.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// Rows of a tile, so that its sums of some groups fit the registers: 24 of 32, or 12 of 16.
template <Arithmetic kA>
inline constexpr int kMostRows = kLanes == 16 || kA == Arithmetic::kA32 ? 6 : 3;
template <Arithmetic kA, int kRows>
inline constexpr int kStreamGroups = [] {
  constexpr int kSums = kLanes == 16 ? 24 : kLanes == 8 ? 12 : 4, kChains = kA == Arithmetic::kA16 ? 2 : 1;
  return std::max(1, std::min(kGroupsPerPanel, kSums / (kChains * kRows * kParts) / 2 * 2));
}();

// Rows go in as many as fit, but one more than that as two halves.
template <Arithmetic kA>
constexpr int NextRows(int num_rows) {
  constexpr int kMost = kMostRows<kA>;
  if (num_rows > kMost && num_rows < kMost + kMost / 2) return (num_rows + 1) / 2;
  return std::min(num_rows, kMost);
}

// Steps of a strip.
constexpr size_t StepsOf(int count) { return static_cast<size_t>(count + 1) / 2; }

// Calls Pass::Run<kA, rows>(stretch) for each tile of rows.
template <class Pass, Arithmetic kA>
HWY_INLINE void ForEachRowTile(Stretch s, int num_rows) {
  while (num_rows > 0) {
    const int rows = NextRows<kA>(num_rows);
    switch (rows) {
      case 1:
        Pass::template Run<kA, 1>(s);
        break;
      case 2:
        Pass::template Run<kA, 2>(s);
        break;
      case 3:
        Pass::template Run<kA, 3>(s);
        break;
      default:
        if constexpr (constexpr int kMost = kMostRows<kA>; kMost > 3) {
          if (rows == 4) Pass::template Run<kA, 4>(s);
          if (rows == 5) Pass::template Run<kA, 5>(s);
          if (rows == 6) Pass::template Run<kA, 6>(s);
        }
        break;
    }
    num_rows -= rows;
    s.x += rows;
    s.totals += static_cast<size_t>(rows) * s.totals_stride;
    s.next += Pass::template kShares<kA> * StepsOf(s.count) * s.next_bytes;
  }
}

// Sums of an output that wait for their scales: of rows, or of rows and groups of 32 k.
inline constexpr int kMostScaledSums = 48;

// A stretch has a scale, or one for each lane and group of 32 k.
inline constexpr int kMostScaledParts = cpu::kScaleBlock / kInt4Group;
int NumScaledParts(const Stretch& s) { return s.lane_scales == nullptr ? 1 : (s.count + kInt4Group - 1) / kInt4Group; }

// So many rows are multiplied in one go: under a16 their sums stay in L1 until they are scaled.
template <Arithmetic kA>
int RowsInOneGo(const Stretch& s, int num_rows) {
  return kA == Arithmetic::kA16 && s.is_scaled ? std::min(kMostScaledSums / NumScaledParts(s), num_rows) : num_rows;
}

template <class Pass, Arithmetic kA>
HWY_INLINE Stretch ScaledPart(const Stretch& s, int part, int num_rows) {
  if (s.lane_scales == nullptr) return s;
  Stretch group = s;
  const int begin = part * kInt4Group;
  const auto steps = static_cast<size_t>(begin / Pass::kInputs);
  group.lines += steps * s.step_bytes;
  group.first_k += begin;
  group.count = std::min(kInt4Group, s.count - begin);
  group.lane_scales += part * cpu::kPanelOutputs;
  const auto tiles = static_cast<size_t>((num_rows + kMostRows<kA> - 1) / kMostRows<kA>);
  group.next += steps * (Pass::kStreams ? s.step_bytes : tiles * Pass::template kShares<kA> * s.next_bytes);
  return group;
}

// totals = fma(scale, sum, total): here subnormals are kept.
void AddScaled(const Stretch& s, int num_rows, const float* sums, int num_outputs) {
  for (int r = 0; r < num_rows; ++r) {
    const Vec scale = Set(s.x_scales == nullptr ? s.scale : s.x_scales[r][s.block] * s.scale);
    for (int n = 0; n < num_outputs; n += kLanes) {
      float* const total = s.totals + static_cast<size_t>(r) * s.totals_stride + n;
      hn::StoreU(Fma(scale, hn::Load(kF32, sums + r * num_outputs + n), hn::LoadU(kF32, total)), kF32, total);
    }
  }
}

// The same with a scale for each lane and part; the parts' sums [num_rows][num_outputs] follow each other.
void AddScaledParts(const Stretch& s, int num_rows, const float* sums, int num_outputs) {
  const int num_parts = NumScaledParts(s);
  for (int n = 0; n < num_outputs; n += kLanes) {
    Vec scales[kMostScaledParts];
    for (int part = 0; part < num_parts; ++part) scales[part] = ScalesOf(s, part * cpu::kPanelOutputs + n);
    for (int r = 0; r < num_rows; ++r) {
      float* const at = s.totals + static_cast<size_t>(r) * s.totals_stride + n;
      Vec total = hn::LoadU(kF32, at);
      for (int part = 0; part < num_parts; ++part)
        total = Fma(scales[part], hn::Load(kF32, sums + (part * num_rows + r) * num_outputs + n), total);
      hn::StoreU(total, kF32, at);
    }
  }
}

// Calls Pass for all rows; under a16 what is not scaled in one go with what flushes subnormals.
template <class Pass, Arithmetic kA>
HWY_INLINE void MultiplyRows(Stretch s, int num_rows) {
  const int num_parts = NumScaledParts(s);
  if constexpr (kA == Arithmetic::kA32) {
    for (int part = 0; part < num_parts; ++part)
      ForEachRowTile<Pass, kA>(ScaledPart<Pass, kA>(s, part, num_rows), num_rows);
    return;
  }
  if (!s.is_scaled) {
    const cpu::FlushSubnormals flush;
    return ForEachRowTile<Pass, kA>(s, num_rows);
  }
  constexpr int kOutputs = Pass::kOutputs;
  HWY_ALIGN float sums[kMostScaledSums * kOutputs];
  for (int first = 0, rows; first < num_rows; first += rows) {
    rows = RowsInOneGo<kA>(s, num_rows - first);
    const int part_sums = rows * kOutputs;
    std::fill_n(sums, num_parts * part_sums, 0.0f);
    {
      const cpu::FlushSubnormals flush;
      for (int part = 0; part < num_parts; ++part) {
        Stretch unscaled = ScaledPart<Pass, kA>(s, part, rows);
        unscaled.is_scaled = false;
        unscaled.totals = sums + part * part_sums;
        unscaled.totals_stride = kOutputs;
        ForEachRowTile<Pass, kA>(unscaled, rows);
      }
    }
    if (s.lane_scales == nullptr) {
      AddScaled(s, rows, sums, kOutputs);
    } else {
      AddScaledParts(s, rows, sums, kOutputs);
    }
    s.x += rows;
    if (s.x_scales != nullptr) s.x_scales += rows;
    s.totals += static_cast<size_t>(rows) * s.totals_stride;
    s.next_bytes = 0;
  }
}

// The stretch from a group of 16 outputs on.
HWY_INLINE Stretch FromGroup(Stretch s, int group) {
  s.lines += static_cast<size_t>(group) * kGroupBytes;
  s.totals += group * kGroup;
  if (s.lane_scales != nullptr) s.lane_scales += group * kGroup;
  return s;
}

// Up to so many rows decode in registers: above, decoding once into L1 is cheaper.
template <class Codec, Arithmetic kA>
inline constexpr int kStreamRows = !Codec::kIsCostly        ? cpu::kMaxProductRows
                                   : kA == Arithmetic::kA16 ? 4
                                                            : 8;

// All 64 outputs of a panel, decoded in registers, in as few passes as the registers allow.
template <class Codec>
struct StreamPass {
  static constexpr int kInputs = Codec::kInputs;
  static constexpr bool kStreams = true;
  static constexpr int kOutputs = cpu::kPanelOutputs;
  template <Arithmetic>
  static constexpr size_t kShares = 0;  // it prefetches what it streams itself
  template <Arithmetic kA, int kRows>
  static HWY_INLINE void Run(const Stretch& s) {
    constexpr int kGroups = kStreamGroups<kA, kRows>;
    for (int group = 0; group < kGroupsPerPanel; group += kGroups) {
      Stretch part = FromGroup(s, group);
      part.next += static_cast<size_t>(group) * kGroupBytes;
      MultiplyTile<Codec, kA, kRows, kGroups>(part);
    }
  }
};

// Groups of 16 outputs of a strip that a tile takes.
template <Arithmetic kA>
inline constexpr int kTileGroups = kLanes < 16              ? 1
                                   : kA == Arithmetic::kA16 ? 2
                                                            : 4;

// kGroups groups of a strip, a tile's share after the other.
template <int kGroups>
struct StripPass {
  static constexpr int kInputs = StripCodec::kInputs;
  static constexpr bool kStreams = false;
  static constexpr int kOutputs = kGroups * kGroup;
  template <Arithmetic kA>
  static constexpr size_t kShares = static_cast<size_t>(kGroups / std::min(kGroups, kTileGroups<kA>));

  template <Arithmetic kA, int kRows>
  static HWY_INLINE void Run(Stretch s) {
    constexpr int kShare = std::min(kGroups, kTileGroups<kA>);
    for (int group = 0; group < kGroups; group += kShare) {
      MultiplyTile<StripCodec, kA, kRows, kShare>(FromGroup(s, group));
      s.next += StepsOf(s.count) * s.next_bytes;
    }
  }
};

// Some groups of outputs of a stretch as a strip in L1 that all rows use: 32 KiB of floats for a block with 16 lanes,
// else 8.
inline constexpr int kStripGroups = kLanes == 16 ? 4 : 1;
inline constexpr int kStripOutputs = kStripGroups * kGroup;

template <class Codec>
HWY_INLINE void DecodeStrip(const Stretch& s, float* strip) {
  constexpr int kVecs = kStripGroups * kParts;
  for (int k = 0; k < s.count; k += Codec::kInputs) {
    const std::byte* line = s.lines + static_cast<size_t>(k / Codec::kInputs) * s.step_bytes;
    for (int v = 0; v < kVecs; ++v) {
      const auto codes = Codec::Load(line + Codec::Offset(v), s.step_bytes);
      for (int pair = 0; pair < Codec::kInputs / 2; ++pair) {
        Vec even, odd;
        Codec::Decode(codes, pair, even, odd);
        float* const to = strip + (k + 2 * pair) * kStripOutputs + v * kLanes;
        hn::Store(even, kF32, to);
        hn::Store(odd, kF32, to + kStripOutputs);
      }
    }
  }
}

// Has `bytes` from `next` on prefetched evenly while all rows are multiplied, or as many as are in one go.
template <class Pass, Arithmetic kA>
HWY_INLINE void PrefetchWhile(const std::byte* next, size_t bytes, int num_rows, Stretch& s) {
  const int rows = RowsInOneGo<kA>(s, num_rows);
  const auto tiles = static_cast<size_t>((rows + kMostRows<kA> - 1) / kMostRows<kA>);
  s.next = next;
  s.next_bytes = bytes / (tiles * Pass::template kShares<kA> * StepsOf(s.count));
}

template <class Codec, Arithmetic kA>
HWY_NOINLINE void DecodeAndMultiply(const Stretch& s, int num_rows) {
  HWY_ALIGN float strip[cpu::kScaleBlock * kStripOutputs];
  constexpr size_t kShares = static_cast<size_t>(kGroupsPerPanel / kStripGroups);
  const size_t block_bytes = static_cast<size_t>(s.count / Codec::kInputs) * s.step_bytes;
  const std::byte* next = s.next;
  for (int group = 0; group < kGroupsPerPanel; group += kStripGroups) {
    Stretch part = FromGroup(s, group);
    DecodeStrip<Codec>(part, strip);
    part.lines = reinterpret_cast<const std::byte*>(strip);
    part.step_bytes = 2 * kStripOutputs * sizeof(float);
    PrefetchWhile<StripPass<kStripGroups>, kA>(next, block_bytes / kShares, num_rows, part);
    next += block_bytes / kShares;
    MultiplyRows<StripPass<kStripGroups>, kA>(part, num_rows);
  }
}

template <class Codec, Arithmetic kA>
HWY_INLINE void MultiplyBlock(const Stretch& s, int num_rows) {
  if (num_rows <= kStreamRows<Codec, kA>) {
    MultiplyRows<StreamPass<Codec>, kA>(s, num_rows);
  } else if constexpr (kStreamRows<Codec, kA> < cpu::kMaxProductRows) {
    DecodeAndMultiply<Codec, kA>(s, num_rows);
  }
}

// Returns where the next block begins.
HWY_INLINE const std::byte* FindLaneScales(Stretch& s) {
  const size_t lines_bytes = cpu::LinesBytes(DType::kInt4, s.count);
  s.lane_scales = reinterpret_cast<const uint16_t*>(s.lines + lines_bytes);
  return s.lines + lines_bytes + cpu::GroupScalesBytes(NumScaledParts(s) * kInt4Group);
}

HWY_INLINE void PrefetchLaneScales(const std::byte* block) {
  const std::byte* const scales = block + cpu::LinesBytes(DType::kInt4, cpu::kScaleBlock);
  for (size_t at = 0; at < cpu::GroupScalesBytes(cpu::kScaleBlock); at += 64) hwy::Prefetch(scales + at);
}

// In blocks of at most 128 k, so that what several passes read of them stays in L1.
template <class Codec, Arithmetic kA>
HWY_INLINE void PanelProductAs(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows,
                               float* totals, const std::byte* next) {
  for (int block = 0; block < w.num_blocks(); ++block) {
    const int end = w.BlockBegin(block + 1);
    Stretch s{.lines = w.Panel(panel) + w.LinesBefore(w.PackedBegin(block)),
              .step_bytes = Codec::kStepBytes,
              .x = x.values,
              .first_k = w.BlockBegin(block),
              .totals = totals,
              .totals_stride = cpu::kPanelOutputs,
              .is_scaled = w.is_scaled() || w.has_group_scales(),
              .scale = w.Scale(panel, block),
              .x_scales = x.scales,
              .block = block};
    for (; s.first_k < end; s.first_k += cpu::kScaleBlock) {
      s.count = std::min(cpu::kScaleBlock, end - s.first_k);
      const std::byte* behind = s.lines + static_cast<size_t>(cpu::kScaleBlock / Codec::kInputs) * Codec::kStepBytes;
      const bool is_last = s.first_k + s.count == w.inputs;
      if constexpr (Codec::kHasLaneScales) behind = FindLaneScales(s);
      s.next = !is_last ? behind : next != nullptr ? next : s.lines;
      if constexpr (Codec::kHasLaneScales) PrefetchLaneScales(s.next);
      MultiplyBlock<Codec, kA>(s, num_rows);
      s.lines = behind;
    }
  }
}

void PanelProduct(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows, float* totals,
                  const std::byte* next) {
  if (x.tiles != nullptr) {
    const cpu::TileRows rows{.tiles = x.tiles, .tile_rows = x.tile_rows, .scales = x.scales, .num_rows = num_rows};
    if (num_rows > 0) x.tile_product(cpu::TilePanelOf(w, panel, next), rows, totals);
    return;
  }
  std::fill_n(totals, static_cast<size_t>(num_rows) * cpu::kPanelOutputs, 0.0f);
  const bool is_a16 = x.arithmetic == Arithmetic::kA16;
  switch (w.dtype()) {
    case DType::kE4M3:
      return is_a16 ? PanelProductAs<E4M3Codec, Arithmetic::kA16>(w, panel, x, num_rows, totals, next)
                    : PanelProductAs<E4M3Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals, next);
    case DType::kInt4:
      return is_a16 ? PanelProductAs<Int4Codec, Arithmetic::kA16>(w, panel, x, num_rows, totals, next)
                    : PanelProductAs<Int4Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals, next);
    case DType::kBf16:
      return is_a16 ? PanelProductAs<Bf16Codec, Arithmetic::kA16>(w, panel, x, num_rows, totals, next)
                    : PanelProductAs<Bf16Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals, next);
    default:
      return PanelProductAs<F32Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals, next);
  }
}

template <Arithmetic kA>
HWY_INLINE void StripProductAs(const Strip& strip, const float* const* x, int num_rows, float* totals,
                               size_t totals_stride) {
  constexpr int kGroups = kTileGroups<kA>;
  Stretch s{
      .step_bytes = 2 * strip.stride * sizeof(float), .x = x, .count = strip.count, .totals_stride = totals_stride};
  const int num_groups = strip.width / kGroup;
  for (int group = 0, groups; group < num_groups; group += groups) {
    groups = num_groups - group >= kGroups ? kGroups : 1;
    s.lines = reinterpret_cast<const std::byte*>(strip.values + group * kGroup);
    s.totals = totals + group * kGroup;
    s.next = s.lines;
    s.next_bytes = 0;
    if (strip.next != nullptr) {
      const size_t group_bytes = strip.next_bytes / static_cast<size_t>(num_groups);
      PrefetchWhile<StripPass<1>, kA>(strip.next + group_bytes * static_cast<size_t>(group),
                                      group_bytes * static_cast<size_t>(groups), num_rows, s);
    }
    if (groups == kGroups) {
      MultiplyRows<StripPass<kGroups>, kA>(s, num_rows);
    } else {
      MultiplyRows<StripPass<1>, kA>(s, num_rows);
    }
  }
}

void StripProduct(const Strip& strip, const float* const* x, int num_rows, float* totals, size_t totals_stride,
                  Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kA16 ? StripProductAs<Arithmetic::kA16>(strip, x, num_rows, totals, totals_stride)
                                        : StripProductAs<Arithmetic::kA32>(strip, x, num_rows, totals, totals_stride);
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

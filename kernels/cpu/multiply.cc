// The loops that multiply: a tile is some rows times some groups of 16 outputs whose sums stay in registers. For few
// rows weights are decoded in registers as they stream by; above, 128 k of a few outputs are decoded into L1 once and
// used for all rows. Both give the same bits, since every output has its own order of k (docs/spec/numerics.md):
//   a32  k ascending into one sum for each block of k
//   a16  the even and the odd k of each 32 into two sums, whose total is added to the block's
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/multiply.cc"
#include <algorithm>
#include <cstddef>

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target
#include <hwy/highway.h>

#include "kernels/cpu/codecs-inl.h"
#include "kernels/cpu/flush_subnormals.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/sums16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

using cpu::Arithmetic;

inline constexpr int kGroup = 16;  // outputs, kParts vectors
inline constexpr int kGroupsPerPanel = cpu::kPanelOutputs / kGroup;

// `count` consecutive k of some rows and outputs. A row's totals lie totals_stride apart.
struct Stretch {
  const std::byte* lines = nullptr;  // from first_k on
  size_t step_bytes = 0;             // of Codec::kInputs k
  const float* const* x = nullptr;
  int first_k = 0;
  int count = 0;
  float* totals = nullptr;
  size_t totals_stride = 0;
  // Whether the sums start at zero, to be multiplied and added to the totals, or carry on from these.
  bool is_scaled = false;
  float scale = 1.0f;
  const float* const* x_scales = nullptr;  // by row, of the block; null: 1
  int block = 0;
  const std::byte* next = nullptr;  // prefetched meanwhile, next_bytes for each step; need not be mapped
  size_t next_bytes = 0;
};

template <Arithmetic kA, int kRows, int kVecs>
struct Sums {
  static constexpr int kChains = kA == Arithmetic::kA16 ? 2 : 1;
  Vec chain[kChains][kRows][kVecs];

  HWY_INLINE void Clear() {
    for (auto& rows : chain)
      for (auto& row : rows)
        for (Vec& sum : row) sum = hn::Zero(kF32);
  }
  HWY_INLINE void AddEven(int r, int v, Vec x, Vec w) { chain[0][r][v] = MulAdd<kA>(x, w, chain[0][r][v]); }
  HWY_INLINE void AddOdd(int r, int v, Vec x, Vec w) {
    chain[kChains - 1][r][v] = MulAdd<kA>(x, w, chain[kChains - 1][r][v]);
  }
};

// A step of whole pairs. Few rows: one vector of outputs at a time leaves registers for the sums. Many rows have few
// outputs: all weights of a pair first, then row by row.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddStep(const std::byte* line, size_t step_bytes, const float* const (&rows)[kRows], int k,
                        Sums<kA, kRows, kVecs>& sums) {
  if constexpr (kRows <= 3) {
    for (int v = 0; v < kVecs; ++v) {
      const auto codes = Codec::Load(line + Codec::Offset(v), step_bytes);
      for (int pair = 0; pair < Codec::kInputs / 2; ++pair) {
        Vec even, odd;
        Codec::Decode(codes, pair, even, odd);
        for (int r = 0; r < kRows; ++r) {
          sums.AddEven(r, v, Set(rows[r][k + 2 * pair]), even);
          sums.AddOdd(r, v, Set(rows[r][k + 2 * pair + 1]), odd);
        }
      }
    }
  } else {
    typename Codec::Codes codes[kVecs];
    for (int v = 0; v < kVecs; ++v) codes[v] = Codec::Load(line + Codec::Offset(v), step_bytes);
    for (int pair = 0; pair < Codec::kInputs / 2; ++pair) {
      Vec even[kVecs], odd[kVecs];
      for (int v = 0; v < kVecs; ++v) Codec::Decode(codes[v], pair, even[v], odd[v]);
      for (int r = 0; r < kRows; ++r) {
        const Vec x_even = Set(rows[r][k + 2 * pair]), x_odd = Set(rows[r][k + 2 * pair + 1]);
        for (int v = 0; v < kVecs; ++v) sums.AddEven(r, v, x_even, even[v]);
        for (int v = 0; v < kVecs; ++v) sums.AddOdd(r, v, x_odd, odd[v]);
      }
    }
  }
}

// The last k of a stretch, fewer than a step: neither activations nor plain floats behind them are read.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddPartOfStep(const std::byte* line, size_t step_bytes, const float* const (&rows)[kRows], int k,
                              int count, Sums<kA, kRows, kVecs>& sums) {
  for (int i = 0; i < count; ++i) {
    const bool is_odd = i % 2 == 1;
    const size_t step = is_odd ? step_bytes : 0;  // of one float row only the even one is read
    for (int v = 0; v < kVecs; ++v) {
      const auto codes = Codec::Load(line + Codec::Offset(v), step);
      Vec even, odd;
      Codec::Decode(codes, i / 2, even, odd);
      for (int r = 0; r < kRows; ++r) {
        const Vec x = Set(rows[r][k + i]);
        if (is_odd) {
          sums.AddOdd(r, v, x, odd);
        } else {
          sums.AddEven(r, v, x, even);
        }
      }
    }
  }
}

// Adds k [begin, begin + count) of the stretch.
template <class Codec, Arithmetic kA, int kRows, int kVecs>
HWY_INLINE void AddSteps(const Stretch& s, const float* const (&rows)[kRows], int begin, int count,
                         Sums<kA, kRows, kVecs>& sums) {
  const size_t step_bytes = s.step_bytes;
  const std::byte* line = s.lines + static_cast<size_t>(begin / Codec::kInputs) * step_bytes;
  const std::byte* next = s.next + static_cast<size_t>(begin / Codec::kInputs) * s.next_bytes;
  const int end = begin + count;
  int k = begin;
#pragma GCC unroll 4  // short loops with a mispredicted exit cost 6 % otherwise
  for (; k + Codec::kInputs <= end; k += Codec::kInputs, line += step_bytes, next += s.next_bytes) {
    if constexpr (Codec::kAheadBytes == 0) hwy::Prefetch(next);
    for (size_t at = 0; Codec::kAheadBytes > 0 && at < Codec::kStepBytes; at += cpu::kLineBytes)
      for (size_t of_line = 0; of_line < kGroupBytes * kVecs / kParts; of_line += 64)
        hwy::Prefetch(line + at + of_line + Codec::kAheadBytes);
    AddStep<Codec, kA, kRows, kVecs>(line, step_bytes, rows, k, sums);
  }
  if constexpr (Codec::kInputs > 1) {
    if (k < end) AddPartOfStep<Codec, kA, kRows, kVecs>(line, step_bytes, rows, k, end - k, sums);
  }
}

template <int kRows>
HWY_INLINE void FindRows(const Stretch& s, const float* (&rows)[kRows]) {
  for (int r = 0; r < kRows; ++r) rows[r] = s.x[r] + s.first_k;
}

// sums [kRows][sums_stride] + the stretch's, in groups of kSumInputs k.
template <class Codec, int kRows, int kVecs>
HWY_NOINLINE void AddGroups(const Stretch& s, float* sums, size_t sums_stride) {
  const float* rows[kRows];
  FindRows(s, rows);
  for (int begin = 0; begin < s.count; begin += cpu::kSumInputs) {
    const int count = std::min(cpu::kSumInputs, s.count - begin);
    Sums<Arithmetic::kA16, kRows, kVecs> group;
    group.Clear();
    AddSteps<Codec, Arithmetic::kA16, kRows, kVecs>(s, rows, begin, count, group);
    // The zeros that fill up the last group: they make a zero positive.
    const bool is_short = count < cpu::kSumInputs - 1;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVecs; ++v) {
        Vec even = group.chain[0][r][v], odd = group.chain[1][r][v];
        if (count < cpu::kSumInputs) odd = Add16(odd, hn::Zero(kF32));
        if (is_short) even = Add16(even, hn::Zero(kF32));
        float* const at = sums + static_cast<size_t>(r) * sums_stride + v * kLanes;
        hn::StoreU(Add16(hn::LoadU(kF32, at), Add16(even, odd)), kF32, at);
      }
    }
  }
}

template <int kRows, int kVecs>
HWY_INLINE void AddScaled(const Stretch& s, const float* sums, size_t sums_stride) {
  for (int r = 0; r < kRows; ++r) {
    const Vec scale = Set(s.x_scales == nullptr ? s.scale : s.x_scales[r][s.block] * s.scale);
    for (int v = 0; v < kVecs; ++v) {
      float* const total = s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes;
      const Vec sum = hn::LoadU(kF32, sums + static_cast<size_t>(r) * sums_stride + v * kLanes);
      hn::StoreU(Fma(scale, sum, hn::LoadU(kF32, total)), kF32, total);
    }
  }
}

template <class Codec, int kRows, int kVecs>
HWY_INLINE void MultiplyTile16(const Stretch& s) {
  if (!s.is_scaled) {
    const cpu::FlushSubnormals flush;
    return AddGroups<Codec, kRows, kVecs>(s, s.totals, s.totals_stride);
  }
  constexpr size_t kStride = kVecs * kLanes;
  HWY_ALIGN float sums[kRows * kStride] = {};
  {
    const cpu::FlushSubnormals flush;
    AddGroups<Codec, kRows, kVecs>(s, sums, kStride);
  }
  AddScaled<kRows, kVecs>(s, sums, kStride);
}

template <class Codec, int kRows, int kVecs>
HWY_NOINLINE void MultiplyTile32(const Stretch& s) {
  const float* rows[kRows];
  FindRows(s, rows);
  Sums<Arithmetic::kA32, kRows, kVecs> sums;
  sums.Clear();
  if (!s.is_scaled) {
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVecs; ++v)
        sums.chain[0][r][v] = hn::LoadU(kF32, s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes);
  }
  AddSteps<Codec, Arithmetic::kA32, kRows, kVecs>(s, rows, 0, s.count, sums);
  const Vec scale = Set(s.scale);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) {
      float* const total = s.totals + static_cast<size_t>(r) * s.totals_stride + v * kLanes;
      const Vec sum = sums.chain[0][r][v];
      hn::StoreU(s.is_scaled ? Fma(scale, sum, hn::LoadU(kF32, total)) : sum, kF32, total);
    }
  }
}

template <class Codec, Arithmetic kA, int kRows, int kGroups>
HWY_INLINE void MultiplyTile(const Stretch& s) {
  if constexpr (kA == Arithmetic::kA16) {
    MultiplyTile16<Codec, kRows, kGroups * kParts>(s);
  } else {
    MultiplyTile32<Codec, kRows, kGroups * kParts>(s);
  }
}

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
        if constexpr (kMostRows < kA >> 3) {
          if (rows == 4) Pass::template Run<kA, 4>(s);
          if (rows == 5) Pass::template Run<kA, 5>(s);
          if (rows == 6) Pass::template Run<kA, 6>(s);
        }
        break;
    }
    num_rows -= rows;
    s.x += rows;
    if (s.x_scales != nullptr) s.x_scales += rows;
    s.totals += static_cast<size_t>(rows) * s.totals_stride;
    s.next += static_cast<size_t>(s.count) * s.next_bytes;
  }
}

// All 64 outputs of a panel, decoded in registers, in as few passes as the registers allow.
template <class Codec>
struct StreamPass {
  template <Arithmetic kA, int kRows>
  static HWY_INLINE void Run(Stretch s) {
    constexpr int kGroups = kStreamGroups<kA, kRows>;
    for (int group = 0; group < kGroupsPerPanel; group += kGroups) {
      MultiplyTile<Codec, kA, kRows, kGroups>(s);
      s.lines += kGroups * kGroupBytes;
      s.totals += kGroups * kGroup;
    }
  }
};

template <int kGroups>
struct StripPass {
  template <Arithmetic kA, int kRows>
  static HWY_INLINE void Run(const Stretch& s) {
    MultiplyTile<StripCodec, kA, kRows, kGroups>(s);
  }
};

// Groups of 16 outputs of a strip that a tile takes.
template <Arithmetic kA>
inline constexpr int kTileGroups = kLanes < 16              ? 1
                                   : kA == Arithmetic::kA16 ? 2
                                                            : 4;

// Some groups of outputs of a stretch as a strip in L1 that all rows use: 32 KiB of floats for a block with 16 lanes,
// else 8.
inline constexpr int kStripGroups = kLanes == 16 ? 4 : 1;
inline constexpr int kStripOutputs = kStripGroups * kGroup;

template <class Codec>
HWY_INLINE void DecodeStrip(const Stretch& s, float* strip) {
  constexpr int kVecs = kStripGroups * kParts;
  for (int k = 0; k < s.count; k += Codec::kInputs) {
    const std::byte* line = s.lines + static_cast<size_t>(k / Codec::kInputs) * s.step_bytes;
    for (size_t of_line = 0; of_line < kGroupBytes * kStripGroups; of_line += 64)
      hwy::Prefetch(line + of_line + Codec::kAheadBytes);
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

template <Arithmetic kA, int kGroups>
HWY_INLINE void MultiplyStrip(Stretch s, int num_groups, int num_rows) {
  for (int group = 0; group < num_groups; group += kGroups) {
    ForEachRowTile<StripPass<kGroups>, kA>(s, num_rows);
    s.lines += kGroups * kGroupBytes;
    s.totals += kGroups * kGroup;
  }
}

template <class Codec, Arithmetic kA>
HWY_NOINLINE void DecodeAndMultiply(Stretch s, int num_rows) {
  HWY_ALIGN float strip[cpu::kScaleBlock * kStripOutputs];
  for (int group = 0; group < kGroupsPerPanel; group += kStripGroups) {
    DecodeStrip<Codec>(s, strip);
    Stretch part = s;
    part.lines = reinterpret_cast<const std::byte*>(strip);
    part.step_bytes = 2 * kStripOutputs * sizeof(float);
    part.next = part.lines;
    MultiplyStrip<kA, std::min(kTileGroups<kA>, kStripGroups)>(part, kStripGroups, num_rows);
    s.lines += kStripGroups * kGroupBytes;
    s.totals += kStripGroups * kGroup;
  }
}

template <class Codec, Arithmetic kA>
HWY_INLINE void PanelProductAs(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows,
                               float* totals) {
  for (int block = 0; block < w.num_blocks(); ++block) {
    const int begin = w.BlockBegin(block);
    const auto step = static_cast<size_t>(w.PackedBegin(block) / Codec::kInputs);
    const Stretch s{.lines = w.Panel(panel) + step * Codec::kStepBytes,
                    .step_bytes = Codec::kStepBytes,
                    .x = x.values,
                    .first_k = begin,
                    .count = w.BlockBegin(block + 1) - begin,
                    .totals = totals,
                    .totals_stride = cpu::kPanelOutputs,
                    .is_scaled = w.is_scaled(),
                    .scale = w.Scale(panel, block),
                    .x_scales = x.scales,
                    .block = block};
    if (num_rows <= Codec::kStreamRows) {
      ForEachRowTile<StreamPass<Codec>, kA>(s, num_rows);
    } else if constexpr (Codec::kStreamRows < cpu::kMaxProductRows) {
      DecodeAndMultiply<Codec, kA>(s, num_rows);
    }
  }
}

void PanelProduct(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows, float* totals) {
  std::fill_n(totals, static_cast<size_t>(num_rows) * cpu::kPanelOutputs, 0.0f);
  const bool is_a16 = x.arithmetic == Arithmetic::kA16;
  switch (w.dtype()) {
    case DType::kE4M3:
      return is_a16 ? PanelProductAs<E4M3Codec, Arithmetic::kA16>(w, panel, x, num_rows, totals)
                    : PanelProductAs<E4M3Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals);
    case DType::kBf16:
      return is_a16 ? PanelProductAs<Bf16Codec, Arithmetic::kA16>(w, panel, x, num_rows, totals)
                    : PanelProductAs<Bf16Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals);
    default:
      return PanelProductAs<F32Codec, Arithmetic::kA32>(w, panel, x, num_rows, totals);
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
    if (strip.next != nullptr) {
      const auto passes = static_cast<size_t>((num_rows + kMostRows<kA> - 1) / kMostRows<kA>);
      const size_t steps = passes * static_cast<size_t>((strip.count + 1) / 2);
      const size_t group_bytes = strip.next_bytes / static_cast<size_t>(num_groups);
      s.next = strip.next + group_bytes * static_cast<size_t>(group);
      s.next_bytes = group_bytes * static_cast<size_t>(groups) / steps;
    }
    if (groups == kGroups) {
      MultiplyStrip<kA, kGroups>(s, groups, num_rows);
    } else {
      MultiplyStrip<kA, 1>(s, groups, num_rows);
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

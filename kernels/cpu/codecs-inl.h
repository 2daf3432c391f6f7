// How the codes of a packed matrix become vectors of weights; compiled once per Highway target. A codec loads the codes
// of kLanes outputs from a step of kInputs k, and gives the weights of the even k and of the odd one for each pair.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_CODECS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_CODECS_INL_H_
#undef LATENTD_KERNELS_CPU_CODECS_INL_H_
#else
#define LATENTD_KERNELS_CPU_CODECS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/e4m3_planes.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/fp8.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

inline constexpr size_t kGroupBytes = 64;  // of 16 outputs in a line
// Where the codes of vector v of a step's outputs lie: a vector after the other, but for E4M3 one by one.
constexpr size_t VectorOffset(int v) { return static_cast<size_t>(v) * kGroupBytes / kParts; }

// Two bf16 numbers in each word: that of the even k is the low half.
HWY_INLINE void SplitPairs(hn::Vec<I32> pairs, Vec& even, Vec& odd) {
  even = hn::BitCast(kF32, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(kF32, hn::And(pairs, hn::Set(kI32, static_cast<int32_t>(0xFFFF0000))));
}

struct E4M3Lines {
  static constexpr int kInputs = 4;
  static constexpr size_t kStepBytes = cpu::kLineBytes;
  static constexpr bool kIsCostly = true;
  static constexpr bool kStreams = true;
  static constexpr bool kHasLaneScales = false;
};

#if HWY_TARGET == HWY_AVX3_DL
// A byte table gives the high byte of a code's bf16 number, another the low one.
struct E4M3Codec : E4M3Lines {
  struct Codes {
    __m512i low, high;
  };
  static constexpr size_t Offset(int v) { return VectorOffset(v); }
  static HWY_INLINE Codes Load(const std::byte* at, size_t) {
    const __m512i codes = _mm512_loadu_si512(at);
    const auto table = [](const uint8_t* half) { return _mm512_load_si512(half); };
    const __m512i low = _mm512_permutex2var_epi8(table(cpu::kE4M3Planes.low), codes, table(cpu::kE4M3Planes.low + 64));
    const __m512i high =
        _mm512_permutex2var_epi8(table(cpu::kE4M3Planes.high), codes, table(cpu::kE4M3Planes.high + 64));
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    return {low, _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8(static_cast<char>(0x80)), kOrAnd)};
  }
  static HWY_INLINE void Decode(const Codes& codes, int pair, Vec& even, Vec& odd) {
    const __m512i pairs =
        pair == 0 ? _mm512_unpacklo_epi8(codes.low, codes.high) : _mm512_unpackhi_epi8(codes.low, codes.high);
    SplitPairs(hn::Vec<I32>{pairs}, even, odd);
  }
};
#elif HWY_TARGET == HWY_SCALAR
struct E4M3Codec : E4M3Lines {
  using Codes = const std::byte*;
  static constexpr size_t Offset(int v) {
    return static_cast<size_t>(v / kVirtualLanes) * kGroupBytes +
           static_cast<size_t>(v % kVirtualLanes / 4 * 16 + v % 4 * 2);
  }
  static HWY_INLINE Codes Load(const std::byte* at, size_t) { return at; }
  static HWY_INLINE void Decode(Codes codes, int pair, Vec& even, Vec& odd) {
    even = Set(DecodeE4M3(static_cast<uint8_t>(codes[8 * pair])));
    odd = Set(DecodeE4M3(static_cast<uint8_t>(codes[8 * pair + 1])));
  }
};
#else
// Shifted into a half a code reads as w · 2^-8, subnormals too.
struct E4M3Codec : E4M3Lines {
  using Words = hn::Vec<hn::Rebind<int16_t, F32> >;
  struct Codes {
    Words pairs[2];  // the odd k's code is the high byte of a word
  };
  static constexpr size_t Offset(int v) { return VectorOffset(v); }
  static HWY_INLINE Codes Load(const std::byte* at, size_t) {
    constexpr hn::Repartition<uint64_t, hn::Repartition<uint8_t, F32> > kU64;
    constexpr hn::Rebind<int16_t, F32> kWords;
    const auto quads = hn::LoadU(kU64, reinterpret_cast<const uint64_t*>(at));
    constexpr hn::Half<hn::Repartition<uint64_t, F32> > kHalf;
    return {{hn::BitCast(kWords, hn::LowerHalf(kHalf, hn::ConcatEven(kU64, quads, quads))),
             hn::BitCast(kWords, hn::LowerHalf(kHalf, hn::ConcatOdd(kU64, quads, quads)))}};
  }
  static HWY_INLINE void Decode(const Codes& codes, int pair, Vec& even, Vec& odd) {
    even = hn::Mul(HalvesOfCodes(hn::ShiftLeft<8>(codes.pairs[pair])), Set(256.0f));
    odd = hn::Mul(HalvesOfCodes(codes.pairs[pair]), Set(256.0f));
  }
};
#endif

// Eight nibbles in each word.
struct Int4Codec {
  static constexpr int kInputs = 8;
  static constexpr size_t kStepBytes = cpu::kLineBytes;
  static constexpr bool kStreams = true;
  static constexpr bool kHasLaneScales = true;
  using Codes = hn::Vec<I32>;
  static constexpr size_t Offset(int v) { return VectorOffset(v); }
  static HWY_INLINE void Decode(const Codes& words, int pair, Vec& even, Vec& odd) {
    switch (pair) {  // known where loops are unrolled
      case 0:
        return DecodePair<0>(words, even, odd);
      case 1:
        return DecodePair<8>(words, even, odd);
      case 2:
        return DecodePair<16>(words, even, odd);
      default:
        return DecodePair<24>(words, even, odd);
    }
  }
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3
  // A table of 16 floats, which looks at the lowest four bits of an index only: as cheap as it gets.
  static constexpr bool kIsCostly = false;
  static HWY_INLINE Codes Load(const std::byte* at, size_t) {
    return hn::LoadU(kI32, reinterpret_cast<const int32_t*>(at));
  }
  template <int kBits>
  static HWY_INLINE void DecodePair(const Codes& words, Vec& even, Vec& odd) {
    const __m512 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    even = Vec{_mm512_permutexvar_ps(hn::ShiftRight<kBits>(words).raw, table)};
    odd = Vec{_mm512_permutexvar_ps(hn::ShiftRight<kBits + 4>(words).raw, table)};
  }
#else
  // With its upper bit turned a nibble is its value in two's complement.
  static constexpr bool kIsCostly = true;
  static HWY_INLINE Codes Load(const std::byte* at, size_t) {
    constexpr auto kUpperBits = static_cast<int32_t>(0x88888888);
    return hn::Xor(hn::LoadU(kI32, reinterpret_cast<const int32_t*>(at)), hn::Set(kI32, kUpperBits));
  }
  template <int kBits>
  static HWY_INLINE void DecodePair(const Codes& words, Vec& even, Vec& odd) {
    even = hn::ConvertTo(kF32, hn::ShiftRight<28>(hn::ShiftLeft<28 - kBits>(words)));
    odd = hn::ConvertTo(kF32, hn::ShiftRight<28>(hn::ShiftLeft<24 - kBits>(words)));
  }
#endif
};

struct Bf16Codec {
  static constexpr int kInputs = 2;
  static constexpr size_t kStepBytes = cpu::kLineBytes;
  static constexpr bool kIsCostly = false;  // a mask or a shift: as cheap as loading it decoded
  static constexpr bool kStreams = true;
  static constexpr bool kHasLaneScales = false;
  using Codes = hn::Vec<I32>;
  static constexpr size_t Offset(int v) { return VectorOffset(v); }
  static HWY_INLINE Codes Load(const std::byte* at, size_t) {
    return hn::LoadU(kI32, reinterpret_cast<const int32_t*>(at));
  }
  static HWY_INLINE void Decode(Codes pairs, int, Vec& even, Vec& odd) { SplitPairs(pairs, even, odd); }
};

// Plain floats, a row for each k; a step is two of them.
struct F32Codec {
  static constexpr int kInputs = 2;
  static constexpr size_t kStepBytes = 2 * cpu::kLineBytes;
  static constexpr bool kIsCostly = false;
  static constexpr bool kStreams = true;
  static constexpr bool kHasLaneScales = false;
  struct Codes {
    const float* even;
    const float* odd;
  };
  static constexpr size_t Offset(int v) { return VectorOffset(v); }
  static HWY_INLINE Codes Load(const std::byte* at, size_t step_bytes) {
    return {reinterpret_cast<const float*>(at), reinterpret_cast<const float*>(at + step_bytes / 2)};
  }
  static HWY_INLINE void Decode(const Codes& codes, int, Vec& even, Vec& odd) {
    even = hn::LoadU(kF32, codes.even);
    odd = hn::LoadU(kF32, codes.odd);
  }
};

// The same as a strip that is in L1.
struct StripCodec : F32Codec {
  static constexpr bool kStreams = false;
};

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle

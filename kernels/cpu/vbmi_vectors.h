// What TileLoops does beside the tile unit, for AVX-512 with VBMI: include it where that is the target in force.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/e4m3_planes.h"

namespace latentd::cpu {

class VbmiVectors {
 public:
  // A line of E4M3 codes, [4 of 16 outputs][4 quads of outputs][2 pairs of k][4 outputs][2 k], as bf16 pairs:
  // to[i * step …] gets two rows of a tile of weights, [2 pairs of k][16 outputs][2 k], for each 16 outputs.
  static void DecodeLine(const std::byte* line, uint16_t* to, size_t step) {
    const __m512i low0 = _mm512_load_si512(kE4M3Planes.low), low1 = _mm512_load_si512(kE4M3Planes.low + 64);
    const __m512i high0 = _mm512_load_si512(kE4M3Planes.high), high1 = _mm512_load_si512(kE4M3Planes.high + 64);
    for (int i = 0; i < 4; ++i, line += 64, to += step) {
      const __m512i codes = _mm512_load_si512(line);
      const __m512i low = _mm512_permutex2var_epi8(low0, codes, low1);
      const __m512i magnitude = _mm512_permutex2var_epi8(high0, codes, high1);
      constexpr int kOrWithAnd = 0xF8;  // a | (b & c)
      const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), kOrWithAnd);
      _mm512_store_si512(to, _mm512_unpacklo_epi8(low, high));
      _mm512_store_si512(to + 32, _mm512_unpackhi_epi8(low, high));
    }
  }

  template <int kWidth>
  static void AddScaled(float scale, const float* sums, float* totals) {
    const __m512 factor = _mm512_set1_ps(scale);
    for (int i = 0; i < kWidth; i += 16) {
      const __m512 total = _mm512_fmadd_ps(factor, _mm512_load_ps(sums + i), _mm512_loadu_ps(totals + i));
      _mm512_storeu_ps(totals + i, total);
    }
  }
};

}  // namespace latentd::cpu

// The tile unit and the vectors of kernels/cpu/tile_loops.h written out, so that its loops run on any machine.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/tile_operands.h"
#include "kernels/fp8.h"
#include "tests/reference/contract16.h"

namespace latentd {

class EmulatedTiles {
 public:
  explicit EmulatedTiles(int rows) {
    CHECK(rows >= 1 && rows <= 16);
    for (int tile = 0; tile < 8; ++tile) tiles_[tile].rows = tile <= 4 ? rows : 16;
  }

  template <int kTile>
  void Zero() {
    std::memset(tiles_[kTile].bytes, 0, sizeof(tiles_[kTile].bytes));
  }
  template <int kTile>
  void Load(const void* from, size_t row_bytes) {
    Tile& tile = tiles_[kTile];
    Zero<kTile>();
    for (int r = 0; r < tile.rows; ++r)
      std::memcpy(tile.bytes[r], static_cast<const std::byte*>(from) + static_cast<size_t>(r) * row_bytes, 64);
  }
  template <int kTile>
  void Store(void* to, size_t row_bytes) const {
    const Tile& tile = tiles_[kTile];
    for (int r = 0; r < tile.rows; ++r)
      std::memcpy(static_cast<std::byte*>(to) + static_cast<size_t>(r) * row_bytes, tile.bytes[r], 64);
  }
  template <int kSums, int kRows, int kWeights>
  void Multiply() {
    const Tile &x = tiles_[kRows], &w = tiles_[kWeights];
    CHECK(tiles_[kSums].rows == x.rows && w.rows == 16);
    for (int r = 0; r < x.rows; ++r)
      for (int n = 0; n < 16; ++n) AddProducts(x.bytes[r], w, n, tiles_[kSums].bytes[r] + 4 * n);
  }

 private:
  struct Tile {
    int rows = 16;
    std::byte bytes[16][64] = {};
  };

  static float Bf16At(const std::byte* at) {
    uint16_t bits = 0;
    std::memcpy(&bits, at, sizeof(bits));
    return DecodeBf16(bits);
  }
  static void AddProducts(const std::byte* x, const Tile& w, int n, std::byte* sum_at) {
    float values[cpu::kTileInputs];
    for (int k = 0; k < cpu::kTileInputs; ++k) values[k] = Bf16At(x + 2 * k);
    const auto weight = [&](int k) { return Bf16At(w.bytes[k / 2] + 4 * n + k % 2 * 2); };
    float sum = 0.0f;
    std::memcpy(&sum, sum_at, sizeof(sum));
    sum = contract::AddGroup(values, weight, cpu::kTileInputs, sum);
    std::memcpy(sum_at, &sum, sizeof(sum));
  }

  Tile tiles_[8];
};

struct WrittenOutVectors {
  static void DecodeLine(const std::byte* line, uint16_t* to, size_t step) {
    for (size_t group = 0; group < 4; ++group) {
      for (size_t i = 0; i < 64; ++i) {  // [4 quads][2 pairs][4 outputs][2 k]
        const size_t quad = i / 16, pair = i / 8 % 2, within = i % 8;
        to[group * step + pair * 32 + quad * 8 + within] =
            EncodeBf16(DecodeE4M3(static_cast<uint8_t>(line[group * 64 + i])));
      }
    }
  }
  template <int kWidth>
  static void AddScaled(float scale, const float* sums, float* totals) {
    for (int i = 0; i < kWidth; ++i) totals[i] = std::fma(scale, sums[i], totals[i]);
  }
};

}  // namespace latentd

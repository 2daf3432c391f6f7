// The loops of TilePanelProduct over a tile unit and vectors of any kind: tiles.cc gives them the machine's, the tests
// ones that are written out. All functions in these headers are of templates: compiled for the instruction set that is
// in force where they are included.
//
// A block is 128 k of the panel's 64 outputs: 16 KiB of bf16, in L1. A pass takes two tiles of rows times two groups of
// 16 outputs through a block, or the last odd tile of rows times all four: four tiles of sums in either case.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/tile_operands.h"
#include "kernels/cpu/tile_sums.h"
#include "kernels/cpu/tile_weights.h"

namespace latentd::cpu {

// Unit has eight tiles of 16 x 64 bytes; its constructor configures tiles 0 to 4 with the given number of rows, the
// others with 16. Vectors decodes lines and adds.
template <class Unit, class Vectors, bool kScaled>
class TileLoops {
 public:
  TileLoops(const TilePanel& panel, const TileRows& rows, float* totals)
      : unit_(std::min(rows.num_rows, kTileRows)),
        rows_(rows),
        num_row_tiles_(TileRowsOf(rows.num_rows)),
        group_values_(static_cast<size_t>(rows.tile_rows) * kTileInputs),
        row_tile_values_(static_cast<size_t>(panel.num_groups) * group_values_),
        weights_(panel),
        sums_(MakeSums(panel, rows, totals)) {}

  void Run() {
    TileBlock block = weights_.First();
    weights_.Start(block, 1);
    weights_.Finish();
    while (block.num_groups > 0) {
      const TileBlock next = weights_.After(block);
      weights_.Start(next, num_row_tiles_ * block.num_groups);
      Multiply(block);
      weights_.Finish();
      block = next;
    }
    if constexpr (kScaled) {
      sums_.Add(0, Sums::kParts);
    } else {
      sums_.Finish();
    }
  }

 private:
  using Weights = TileWeights<Vectors, kScaled>;
  using Sums = std::conditional_t<kScaled, ScaledSums<Vectors>, CarriedSums<Vectors>>;

  static Sums MakeSums(const TilePanel& panel, const TileRows& rows, float* totals) {
    if constexpr (kScaled) {
      return Sums(panel.scales, rows, totals);
    } else {
      return Sums(rows, totals);
    }
  }

  void Multiply(const TileBlock& block) {
    int row_tile = 0;
    for (; row_tile + 1 < num_row_tiles_; row_tile += 2) {
      Pass<2>(block, row_tile, 0);
      Pass<2>(block, row_tile, 2);
    }
    if (row_tile < num_row_tiles_) Pass<1>(block, row_tile, 0);
  }

  template <int kRowTiles>
  void Pass(const TileBlock& block, int row_tile, int output_group) {
    const TilePass pass{kRowTiles, row_tile, output_group * 16, block.index};
    const uint16_t* x = rows_.tiles + static_cast<size_t>(row_tile) * row_tile_values_ +
                        static_cast<size_t>(block.first_group) * group_values_;
    const std::byte* w = weights_.At(block) + static_cast<size_t>(output_group) * Weights::kOutputStep;
    BeginSums(pass);
    for (int group = 0; group < block.num_groups; ++group, x += group_values_, w += Weights::kGroupStep) {
      MultiplyGroup<kRowTiles>(x, w);
      weights_.Advance();
      if constexpr (kScaled) sums_.Add(group, group + 1);
    }
    if constexpr (kScaled) {
      sums_.Add(block.num_groups, Sums::kParts);
      StoreSums(sums_.Next(pass));
    } else if (num_row_tiles_ > 1 || weights_.IsLast(block)) {
      StoreSums(sums_.At(pass));
    }
  }

  // Tiles 0 to 3 are sums; from 4 on come rows, then weights.
  template <int kRowTiles>
  void MultiplyGroup(const uint16_t* x, const std::byte* w) {
    constexpr size_t kPairStep = Weights::kPairStep, kOutputStep = Weights::kOutputStep;
    unit_.template Load<4>(x, 64);
    if constexpr (kRowTiles == 2) {
      unit_.template Load<6>(w, kPairStep);
      unit_.template Multiply<0, 4, 6>();
      unit_.template Load<7>(w + kOutputStep, kPairStep);
      unit_.template Multiply<1, 4, 7>();
      unit_.template Load<5>(x + row_tile_values_, 64);
      unit_.template Multiply<2, 5, 6>();
      unit_.template Multiply<3, 5, 7>();
    } else {
      unit_.template Load<5>(w, kPairStep);
      unit_.template Multiply<0, 4, 5>();
      unit_.template Load<6>(w + kOutputStep, kPairStep);
      unit_.template Multiply<1, 4, 6>();
      unit_.template Load<7>(w + 2 * kOutputStep, kPairStep);
      unit_.template Multiply<2, 4, 7>();
      unit_.template Load<5>(w + 3 * kOutputStep, kPairStep);
      unit_.template Multiply<3, 4, 5>();
    }
  }

  // Scaled sums start at zero in each block. Others carry on: inside the unit where a block has but one pass.
  void BeginSums(const TilePass& pass) {
    if (kScaled || pass.block == 0) {
      unit_.template Zero<0>();
      unit_.template Zero<1>();
      unit_.template Zero<2>();
      unit_.template Zero<3>();
      return;
    }
    if constexpr (!kScaled) {
      if (num_row_tiles_ > 1) LoadSums(sums_.At(pass));
    }
  }

  void LoadSums(const SumPlaces& at) {
    unit_.template Load<0>(at.first, at.row_bytes);
    unit_.template Load<1>(at.first + 16, at.row_bytes);
    unit_.template Load<2>(at.second, at.row_bytes);
    unit_.template Load<3>(at.second + 16, at.row_bytes);
  }
  void StoreSums(const SumPlaces& at) {
    unit_.template Store<0>(at.first, at.row_bytes);
    unit_.template Store<1>(at.first + 16, at.row_bytes);
    unit_.template Store<2>(at.second, at.row_bytes);
    unit_.template Store<3>(at.second + 16, at.row_bytes);
  }

  Unit unit_;
  const TileRows& rows_;
  const int num_row_tiles_;
  const size_t group_values_;  // of 32 k of a tile of rows
  const size_t row_tile_values_;
  Weights weights_;
  Sums sums_;
};

}  // namespace latentd::cpu

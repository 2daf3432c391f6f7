// Where TileLoops leaves the sums of a pass: a block's are multiplied with a scale and added to the totals while the
// next pass is multiplied, so that neither waits for the other; those of bf16 weights carry on from block to block.
#pragma once

#include <algorithm>
#include <cstddef>

#include <hwy/base.h>

#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

// The sums of a pass, in two halves of 16 rows or of 32 outputs.
struct SumPlaces {
  float* first = nullptr;
  float* second = nullptr;
  size_t row_bytes = 0;
};

// The part of a panel's totals that a pass works on.
struct TilePass {
  int num_row_tiles = 0;  // 2, times 32 outputs; or 1, times 64
  int row_tile = 0;
  int first_output = 0;
  int block = 0;
};

template <class Vectors>
class ScaledSums {
 public:
  static constexpr int kParts = 4;  // of the waiting sums

  ScaledSums(const float* scales, const TileRows& rows, float* totals) : scales_(scales), rows_(rows), totals_(totals) {
    std::fill_n(totals, static_cast<size_t>(rows.num_rows) * kPanelOutputs, 0.0f);
  }

  // A pass stores its sums there once all parts of those of the pass before are added.
  SumPlaces Next(const TilePass& pass) {
    float* const sums = sums_ == buffers_[0] ? buffers_[1] : buffers_[0];
    sums_ = sums;
    width_ = kPanelOutputs / pass.num_row_tiles;
    block_ = pass.block;
    first_row_ = pass.row_tile * kTileRows;
    num_rows_ = std::min(pass.num_row_tiles * kTileRows, rows_.num_rows - first_row_);
    first_output_ = pass.first_output;
    return {sums, sums + (pass.num_row_tiles == 2 ? kTileRows * width_ : 32),
            static_cast<size_t>(width_) * sizeof(float)};
  }

  // total = fma(scale, sum, total) for parts [begin, end).
  void Add(int begin, int end) {
    if (width_ == kPanelOutputs) {
      AddRows<kPanelOutputs>(begin, end);
    } else {
      AddRows<kPanelOutputs / 2>(begin, end);
    }
  }

 private:
  static constexpr int kValues = kTileRows * kPanelOutputs;

  // Copies of the members: a store of vectors may change those, as far as the compiler knows.
  template <int kWidth>
  HWY_NOINLINE void AddRows(int begin, int end) {
    constexpr int kPartRows = kValues / kWidth / kParts;
    const int first = begin * kPartRows, last = std::min(end * kPartRows, num_rows_), block = block_;
    const float* sums = sums_ + first * kWidth;
    float* totals = totals_ + (first_row_ + first) * kPanelOutputs + first_output_;
    const float block_scale = scales_[block];
    const float* const* row_scales = rows_.scales == nullptr ? nullptr : rows_.scales + first_row_;
    for (int r = first; r < last; ++r, sums += kWidth, totals += kPanelOutputs) {
      const float scale = row_scales == nullptr ? block_scale : row_scales[r][block] * block_scale;
      Vectors::template AddScaled<kWidth>(scale, sums, totals);
    }
  }

  const float* const scales_;
  const TileRows& rows_;
  float* const totals_;
  alignas(64) float buffers_[2][kValues];
  const float* sums_ = buffers_[1];  // [num_rows][width], none at first
  int width_ = kPanelOutputs;
  int block_ = 0;
  int first_row_ = 0;
  int num_rows_ = 0;
  int first_output_ = 0;
};

// A store of tiles needs whole rows of them: a last tile with fewer has its sums beside the totals.
template <class Vectors>
class CarriedSums {
 public:
  CarriedSums(const TileRows& rows, float* totals)
      : totals_(totals), num_rows_(rows.num_rows), tail_row_(rows.num_rows / kTileRows * kTileRows) {}

  SumPlaces At(const TilePass& pass) {
    float* first = Row(pass.row_tile) + pass.first_output;
    return {first, pass.num_row_tiles == 2 ? Row(pass.row_tile + 1) + pass.first_output : first + 32,
            kPanelOutputs * sizeof(float)};
  }

  void Finish() {
    if (HasTail()) std::copy_n(tail_, (num_rows_ - tail_row_) * kPanelOutputs, totals_ + tail_row_ * kPanelOutputs);
  }

 private:
  bool HasTail() const { return tail_row_ > 0 && tail_row_ < num_rows_; }  // a unit has tiles with fewer rows, too
  float* Row(int row_tile) {
    const int row = row_tile * kTileRows;
    return HasTail() && row == tail_row_ ? tail_ : totals_ + row * kPanelOutputs;
  }

  float* const totals_;
  const int num_rows_;
  const int tail_row_;
  alignas(64) float tail_[kTileRows * kPanelOutputs];
};

}  // namespace latentd::cpu

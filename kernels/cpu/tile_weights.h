// A panel's weights as TileLoops reads them, block by block: codes decoded into a strip of bf16, bf16 where it lies.
// While a block is multiplied, the next one is decoded or prefetched, a few lines at each step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <hwy/base.h>

#include "kernels/cpu/tile_operands.h"

namespace latentd::cpu {

inline constexpr int kBlockGroups = 4;  // of 32 k
static_assert(kBlockGroups * kTileInputs == kScaleBlock);

struct TileBlock {
  int index = 0;
  int first_group = 0;
  int num_groups = 0;  // 0 behind the last block
};

template <class Vectors, bool kScaled>
class TileWeights {
  static constexpr size_t kGroupLines = kScaled ? 8 : 16;
  static constexpr size_t kAheadBytes = 4096;
  static constexpr size_t kStripValues = size_t{kBlockGroups} * kTileValues;  // of 16 outputs

 public:
  // Where a tile of weights lies: bytes to the next pair of k, to the next 16 outputs and to the next 32 k.
  static constexpr size_t kPairStep = kScaled ? 64 : kLineBytes;
  static constexpr size_t kOutputStep = kScaled ? kStripValues * sizeof(uint16_t) : 64;
  static constexpr size_t kGroupStep = kScaled ? kTileValues * sizeof(uint16_t) : kGroupLines * kLineBytes;

  explicit TileWeights(const TilePanel& panel)
      : panel_(panel),
        end_(panel.lines + static_cast<size_t>(panel.num_groups) * kGroupLines * kLineBytes),
        next_(panel.next == nullptr ? end_ : panel.next) {}

  TileBlock First() const {
    return {0, 0, std::min(kScaled ? panel_.first_block_groups : kBlockGroups, panel_.num_groups)};
  }
  TileBlock After(const TileBlock& block) const {
    const int first = block.first_group + block.num_groups;
    return {block.index + 1, first, std::min(kBlockGroups, panel_.num_groups - first)};
  }
  bool IsLast(const TileBlock& block) const { return block.first_group + block.num_groups == panel_.num_groups; }

  // The block's first 16 outputs; it was prepared.
  const std::byte* At(const TileBlock& block) const {
    if constexpr (kScaled) return reinterpret_cast<const std::byte*>(strips_[block.index % 2]);
    return Lines(block);
  }

  // A block is prepared in so many steps, while the one before it may be read. Behind the last one the next panel's
  // first is prefetched; with codes that is done already.
  void Start(const TileBlock& block, int num_steps) {
    const bool is_next_panel = block.num_groups == 0;
    const int num_groups = !is_next_panel ? block.num_groups : kScaled ? 0 : kBlockGroups;
    from_ = is_next_panel ? next_ : Lines(block);
    to_ = strips_[block.index % 2];
    num_left_ = static_cast<size_t>(num_groups) * kGroupLines;
    per_step_ = num_left_ * kPart / static_cast<size_t>(num_steps) + 1;
    due_ = 0;
  }
  void Advance() {
    due_ += per_step_;
    Prepare(std::min(due_ / kPart, num_left_));
    due_ %= kPart;
  }
  void Finish() { Prepare(num_left_); }

 private:
  static constexpr size_t kPart = 1 << 16;  // steps are counted in such parts of a line

  const std::byte* Lines(const TileBlock& block) const {
    return panel_.lines + static_cast<size_t>(block.first_group) * kGroupLines * kLineBytes;
  }

  const std::byte* Ahead(const std::byte* line) const {
    const auto left = static_cast<size_t>(end_ - line);
    return left > kAheadBytes ? line + kAheadBytes : next_ + (kAheadBytes - left);
  }

  HWY_NOINLINE void Prepare(size_t num_lines) {
    const std::byte* from = from_;
    uint16_t* to = to_;
    for (size_t line = 0; line < num_lines; ++line, from += kLineBytes) {
      const std::byte* ahead = kScaled ? Ahead(from) : from;  // need not be mapped
      for (size_t i = 0; i < kLineBytes; i += 64) __builtin_prefetch(ahead + i);
      if constexpr (kScaled) {
        Vectors::DecodeLine(from, to, kStripValues);
        to += 64;
      }
    }
    from_ = from;
    to_ = to;
    num_left_ -= num_lines;
  }

  const TilePanel& panel_;
  const std::byte* const end_;
  const std::byte* const next_;
  const std::byte* from_ = nullptr;
  size_t num_left_ = 0;  // lines
  uint16_t* to_ = nullptr;
  size_t per_step_ = 0;
  size_t due_ = 0;
  alignas(64) uint16_t strips_[2][kScaled ? 4 * kStripValues : 1];  // [4 of 16 outputs][4 groups][16 pairs][16][2]
};

}  // namespace latentd::cpu

#include "kernels/cuda/key_value_up.h"

#include "base/check.h"
#include "kernels/fp8.h"
#include "kernels/stored_value.h"

namespace latentd::cuda {
namespace {

// Where value `index` of a lane lies in its tile: register index/2 holds row lane/4 (+ 8 for odd registers), columns
// 2·(lane%4) (+ 8 for the upper two registers) and the next.
constexpr int TileRow(int lane, int index) { return lane / 4 + 8 * (index / 2 % 2); }
constexpr int TileColumn(int lane, int index) { return 2 * (lane % 4) + 8 * (index / 4) + index % 2; }

// `value(head, output, input)` is asked for what lies inside the matrices only.
template <class Value>
uint16_t* PackMatrices(const HeadMatrices& sizes, const Value& value, uint16_t* to) {
  const auto pack_tile = [&](int head, int first_output, int first_input) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int index = 0; index < 8; ++index) {
        const int output = first_output + TileRow(lane, index), input = first_input + TileColumn(lane, index);
        float rest = output < sizes.outputs && input < sizes.inputs ? value(head, output, input) : 0.0f;
        for (int plane = 0; plane < sizes.planes; ++plane) {
          const uint16_t part = EncodeBf16(rest);
          to[static_cast<size_t>(plane) * HeadMatrices::kTileValues + static_cast<size_t>(lane * 8 + index)] = part;
          rest -= DecodeBf16(part);
        }
      }
    }
    to += static_cast<size_t>(sizes.planes) * HeadMatrices::kTileValues;
  };
  constexpr int kTile = HeadMatrices::kTile;
  for (int head = 0; head < sizes.num_heads; ++head) {
    for (int output = 0; output < sizes.output_tiles(); ++output) {
      for (int input = 0; input < sizes.input_tiles(); ++input) pack_tile(head, output * kTile, input * kTile);
    }
  }
  return to;
}

}  // namespace

KeyValueUpMatrices KeyValueUpSizes(DType dtype, const AttentionShape& shape) {
  const int planes = dtype == DType::kBf16 ? 1 : 2;
  return {
      .key = {.num_heads = shape.num_heads,
              .outputs = shape.latent_width,
              .inputs = shape.nope_width,
              .planes = planes},
      .value = {
          .num_heads = shape.num_heads, .outputs = shape.value_width, .inputs = shape.latent_width, .planes = planes}};
}

void PackKeyValueUpTiles(const MatrixSource& source, const AttentionShape& shape, std::span<uint16_t> tiles) {
  const int head_rows = shape.nope_width + shape.value_width;
  CHECK_EQ(source.outputs, shape.num_heads * head_rows);
  CHECK_EQ(source.inputs, shape.latent_width);
  const KeyValueUpMatrices sizes = KeyValueUpSizes(source.dtype, shape);
  CHECK_EQ(tiles.size(), sizes.num_values());
  uint16_t* next = PackMatrices(
      sizes.key, [&](int head, int latent, int nope) { return StoredValue(source, head * head_rows + nope, latent); },
      tiles.data());
  PackMatrices(
      sizes.value,
      [&](int head, int value, int latent) {
        return StoredValue(source, head * head_rows + shape.nope_width + value, latent);
      },
      next);
}

}  // namespace latentd::cuda

#include "kernels/cpu/product_inputs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/product_inputs.cc"
#include <algorithm>
#include <utility>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/activation_codes-inl.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/pack_row_tile.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/scratch_bytes.h"
#include "kernels/cpu/tiles.h"
#include "kernels/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

void RoundRows(ThreadPool& pool, const Tensor& from, const Tensor& to) {
  pool.ForEach(from.rows, [&](int row, int) HWY_ATTR {
    const float* const values = from.Row(row);
    float* const rounded = to.Row(row);
    for (int i = 0; i < from.width; i += kLanes) {
      StoreUpTo(RoundToBf16(LoadUpTo(values + i, from.width - i)), rounded + i, from.width - i);
    }
  });
}

void DecodeRow(const Activation& from, int row, float* to) { DecodeCodes(from, row, to); }

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(RoundRows);
HWY_EXPORT(DecodeRow);

namespace {

void DecodeRow(const Activation& from, int row, float* to) { HWY_DYNAMIC_DISPATCH(DecodeRow)(from, row, to); }

Tensor CutTo(const Tensor& x, const DeviceBuffer& memory) {
  const Tensor cut{memory.As<float>(), x.rows, x.width, RowStride(x.width)};
  CHECK_LE(static_cast<size_t>(cut.rows) * static_cast<size_t>(cut.stride) * sizeof(float), memory.bytes());
  return cut;
}

}  // namespace

InputKind KindFor(const PackedMatrix& w, ActivationFormat format, bool has_codes) {
  if (w.dtype() == DType::kF32 || w.keeps_inputs()) return InputKind::kAsTheyAre;
  if (format == ActivationFormat::kBf16) return InputKind::kBf16;
  return has_codes && w.dtype() == DType::kE4M3 ? InputKind::kCodes : InputKind::kAsTheyAre;
}

TileProduct TilesFor(const StepLimits& limits) {
  return limits.activations == ActivationFormat::kF32 ? nullptr : TilesInUse();
}

bool ServeTiles(TileProduct tiles, const PackedMatrix& w, InputKind kind) {
  return tiles != nullptr && kind != InputKind::kAsTheyAre && FitsTiles(w);
}

namespace {

// The sizes of the copies of the inputs, as floats and as tiles.
size_t ValueBytes(const StepLimits& limits) {
  if (limits.activations == ActivationFormat::kF32) return 0;
  const auto stride = static_cast<size_t>(RowStride(limits.max_linear_inputs));
  return static_cast<size_t>(limits.max_tokens) * stride * sizeof(float);
}
size_t TileBytes(const StepLimits& limits) {
  if (TilesFor(limits) == nullptr) return 0;
  return TileRowValues(limits.max_tokens, limits.max_linear_inputs) * sizeof(uint16_t);
}

}  // namespace

size_t ProductInputBytes(const StepLimits& limits) { return ValueBytes(limits) + TileBytes(limits); }

absl::Status ProductInputs::Reserve(Device& device, const StepLimits& limits) {
  format_ = limits.activations;
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  tile_product_ = TilesFor(limits);
  for (Addresses& rows : rows_) rows.values.reserve(tokens);
  if (format_ == ActivationFormat::kF32) return absl::OkStatus();
  if (format_ == ActivationFormat::kE4M3) rows_[static_cast<size_t>(InputKind::kCodes)].scales.reserve(tokens);
  absl::StatusOr<DeviceBuffer> values = device.Allocate(ValueBytes(limits));
  if (!values.ok()) return values.status();
  values_ = *std::move(values);
  if (tile_product_ == nullptr) return absl::OkStatus();
  absl::StatusOr<DeviceBuffer> tiles = device.Allocate(TileBytes(limits));
  if (!tiles.ok()) return tiles.status();
  tiles_ = *std::move(tiles);
  return absl::OkStatus();
}

ProductRows ProductInputs::Rows(ThreadPool& pool, const Activation& x, InputKind kind) {
  Tensor values = x.values;
  if (kind == InputKind::kBf16) {
    values = CutTo(x.values, values_);
    HWY_DYNAMIC_DISPATCH(RoundRows)(pool, x.values, values);
  } else if (kind == InputKind::kCodes) {
    values = CutTo(x.values, values_);
    pool.ForEach(values.rows, [&](int row, int) { DecodeRow(x, row, values.Row(row)); });
  }
  Addresses& rows = rows_[static_cast<size_t>(kind)];
  rows.values.clear();
  for (int row = 0; row < values.rows; ++row) rows.values.push_back(values.Row(row));
  if (kind == InputKind::kCodes) TakeScales(x, rows.scales);
  return {.arithmetic = kind == InputKind::kAsTheyAre ? Arithmetic::kA32 : Arithmetic::kA16,
          .values = rows.values.data(),
          .scales = kind == InputKind::kCodes ? rows.scales.data() : nullptr};
}

ProductRows ProductInputs::RowsFor(ThreadPool& pool, const Activation& x, const PackedMatrix& w) {
  const InputKind kind = KindFor(w, format_, x.codes != nullptr);
  return ServeTiles(tile_product_, w, kind) ? TilesOf(pool, x, kind) : Rows(pool, x, kind);
}

ProductRows ProductInputs::TilesOf(ThreadPool& pool, const Activation& x, InputKind kind) {
  const bool are_codes = kind == InputKind::kCodes;
  const Tensor& from = x.values;
  const Tensor values = are_codes ? CutTo(from, values_) : from;
  const int tile_rows = std::min(from.rows, kTileRows);
  ProductRows rows{.arithmetic = Arithmetic::kA16,
                   .tiles = tiles_.As<uint16_t>(),
                   .tile_rows = tile_rows,
                   .row_tile_values = RowTileValues(tile_rows, from.width),
                   .tile_product = tile_product_};
  CHECK_LE(TileRowValues(from.rows, from.width) * sizeof(uint16_t), tiles_.bytes());
  pool.ForEach(TileRowsOf(from.rows), [&](int row_tile, int) {
    const int first = row_tile * kTileRows, count = std::min(kTileRows, from.rows - first);
    const float* addresses[kTileRows];
    for (int r = 0; r < count; ++r) {
      addresses[r] = values.Row(first + r);
      if (are_codes) DecodeRow(x, first + r, values.Row(first + r));
    }
    PackRowTile(addresses, count, tile_rows, from.width,
                tiles_.As<uint16_t>() + static_cast<size_t>(row_tile) * rows.row_tile_values);
  });
  if (!are_codes) return rows;
  std::vector<const float*>& scales = rows_[static_cast<size_t>(kind)].scales;
  TakeScales(x, scales);
  rows.scales = scales.data();
  return rows;
}

void ProductInputs::TakeScales(const Activation& x, std::vector<const float*>& scales) {
  scales.clear();
  for (int row = 0; row < x.values.rows; ++row)
    scales.push_back(x.scales + static_cast<size_t>(row) * static_cast<size_t>(x.num_groups()));
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE

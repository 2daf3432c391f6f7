// The rows of an activation as products with a weight read them: fp32 values as they are, values rounded to bf16, or
// what FP8 codes stand for before scaling (docs/spec/numerics.md); the latter two as tiles where products are made on a
// tile unit. Owned by CpuOps; engine thread only.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include <absl/status/status.h>

#include "base/thread_pool.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

enum class InputKind : uint8_t { kAsTheyAre, kBf16, kCodes };
inline constexpr size_t kNumInputKinds = 3;

// What products with `w` read of an activation with or without codes.
InputKind KindFor(const PackedMatrix& w, ActivationFormat format, bool has_codes);

// What ops with these limits multiply with on tiles; null: nothing. Asked once, as memory is reserved.
TileProduct TilesFor(const StepLimits& limits);
// Whether products with w are made on them.
bool ServeTiles(TileProduct tiles, const PackedMatrix& w, InputKind kind);

class ProductInputs {
 public:
  absl::Status Reserve(Device& device, const StepLimits& limits);
  ActivationFormat format() const { return format_; }

  // All rows of x; valid until the next call for a kind other than kAsTheyAre.
  ProductRows Rows(ThreadPool& pool, const Activation& x, InputKind kind);
  // The same for products with w, as tiles alone where these serve.
  ProductRows RowsFor(ThreadPool& pool, const Activation& x, const PackedMatrix& w);

 private:
  struct Addresses {
    std::vector<const float*> values, scales;
  };
  void TakeScales(const Activation& x, std::vector<const float*>& scales);
  ProductRows TilesOf(ThreadPool& pool, const Activation& x, InputKind kind);

  ActivationFormat format_ = ActivationFormat::kF32;
  std::array<Addresses, kNumInputKinds> rows_;
  // [tokens, inputs], as bf16 numbers or as what codes stand for: the format has one of these kinds. Pages that no
  // product needs, since tiles serve it, stay untouched.
  DeviceBuffer values_;
  TileProduct tile_product_ = nullptr;
  DeviceBuffer tiles_;
};

}  // namespace latentd::cpu

// The rows of an activation as products with a weight read them: fp32 values as they are, values rounded to bf16, or
// what FP8 codes stand for before scaling (docs/spec/numerics.md). Owned by CpuOps; engine thread only.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

enum class InputKind : uint8_t { kAsTheyAre, kBf16, kCodes };
inline constexpr size_t kNumInputKinds = 3;

// What products with `w` read of an activation with or without codes.
InputKind KindFor(const PackedMatrix& w, ActivationFormat format, bool has_codes);

class ProductInputs {
 public:
  void Reserve(const StepLimits& limits);
  ActivationFormat format() const { return format_; }

  // All rows of x; valid until the next call for this kind.
  ProductRows Rows(ThreadPool& pool, const Activation& x, InputKind kind);
  // The same for products with w.
  ProductRows RowsFor(ThreadPool& pool, const Activation& x, const PackedMatrix& w) {
    return Rows(pool, x, KindFor(w, format_, x.codes != nullptr));
  }

 private:
  struct Addresses {
    std::vector<const float*> values, scales;
  };

  ActivationFormat format_ = ActivationFormat::kF32;
  std::array<Addresses, kNumInputKinds> rows_;
  std::vector<float> bf16_, codes_;  // [tokens, inputs]
};

}  // namespace latentd::cpu

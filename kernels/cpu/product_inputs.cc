#include "kernels/cpu/product_inputs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/product_inputs.cc"
#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/check.h"
#include "kernels/cpu/activation_codes-inl.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/partial-inl.h"

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

void DecodeRows(ThreadPool& pool, const Activation& from, const Tensor& to) {
  pool.ForEach(to.rows, [&](int row, int) HWY_ATTR { DecodeCodes(from, row, to.Row(row)); });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(RoundRows);
HWY_EXPORT(DecodeRows);

namespace {

// As the activations': the rows of a tile do not share the same L1 sets.
int StrideOf(int width) { return (width + 15) / 16 * 16 + 16; }

Tensor CutTo(const Tensor& x, std::vector<float>& memory) {
  const Tensor cut{memory.data(), x.rows, x.width, StrideOf(x.width)};
  CHECK_LE(static_cast<size_t>(cut.rows) * static_cast<size_t>(cut.stride), memory.size());
  return cut;
}

}  // namespace

InputKind KindFor(const PackedMatrix& w, ActivationFormat format, bool has_codes) {
  if (w.dtype() == DType::kF32 || w.keeps_inputs()) return InputKind::kAsTheyAre;
  if (format == ActivationFormat::kBf16) return InputKind::kBf16;
  return has_codes && w.dtype() == DType::kE4M3 ? InputKind::kCodes : InputKind::kAsTheyAre;
}

void ProductInputs::Reserve(const StepLimits& limits) {
  format_ = limits.activations;
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const size_t values = tokens * static_cast<size_t>(StrideOf(limits.max_linear_inputs));
  for (Addresses& rows : rows_) rows.values.reserve(tokens);
  if (format_ == ActivationFormat::kBf16) bf16_.resize(values);
  if (format_ != ActivationFormat::kE4M3) return;
  codes_.resize(values);
  rows_[static_cast<size_t>(InputKind::kCodes)].scales.reserve(tokens);
}

ProductRows ProductInputs::Rows(ThreadPool& pool, const Activation& x, InputKind kind) {
  Tensor values = x.values;
  if (kind == InputKind::kBf16) {
    values = CutTo(x.values, bf16_);
    HWY_DYNAMIC_DISPATCH(RoundRows)(pool, x.values, values);
  } else if (kind == InputKind::kCodes) {
    values = CutTo(x.values, codes_);
    HWY_DYNAMIC_DISPATCH(DecodeRows)(pool, x, values);
  }
  Addresses& rows = rows_[static_cast<size_t>(kind)];
  rows.values.clear();
  rows.scales.clear();
  for (int row = 0; row < values.rows; ++row) {
    rows.values.push_back(values.Row(row));
    if (kind == InputKind::kCodes) {
      rows.scales.push_back(x.scales + static_cast<size_t>(row) * static_cast<size_t>(x.num_groups()));
    }
  }
  return {.arithmetic = kind == InputKind::kAsTheyAre ? Arithmetic::kA32 : Arithmetic::kA16,
          .values = rows.values.data(),
          .scales = kind == InputKind::kCodes ? rows.scales.data() : nullptr};
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE

// FP8 codes of activations as docs/spec/deepseek.md 4.3 defines them, in scalar loops: what every backend must equal
// bit for bit; and the products that read them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/fp8.h"
#include "kernels/tensor.h"
#include "tests/reference/contract.h"
#include "tests/reference/experts.h"

namespace latentd::contract {

inline float CodeScale(std::span<const float> group, ScaleFormat format) {
  float peak = 1e-4f;
  for (const float value : group) peak = std::max(peak, std::fabs(value));
  const float scale = peak / 448.0f;
  if (format == ScaleFormat::kF32 || std::isinf(scale)) return scale;
  int exponent = 0;
  const float fraction = std::frexp(scale, &exponent);  // scale = fraction · 2^exponent, fraction from 1/2 to 1
  return std::ldexp(1.0f, fraction == 0.5f ? exponent - 1 : exponent);
}

struct CodedRow {
  std::vector<uint8_t> codes;  // whole groups
  std::vector<float> scales;

  float Value(size_t i) const { return DecodeE4M3(codes[i]) * scales[i / kCodeGroup]; }
};

inline CodedRow CodesOf(std::span<const float> row, ScaleFormat format) {
  CodedRow coded;
  for (size_t begin = 0; begin < row.size(); begin += kCodeGroup) {
    const auto group = row.subspan(begin, std::min<size_t>(kCodeGroup, row.size() - begin));
    coded.scales.push_back(CodeScale(group, format));
    for (const float value : group) coded.codes.push_back(EncodeE4M3(value / coded.scales.back()));
    coded.codes.resize(begin + kCodeGroup, 0);
  }
  return coded;
}

// What the codes of a row stand for.
inline std::vector<float> RoundToCodes(std::span<const float> row, ScaleFormat format) {
  const CodedRow coded = CodesOf(row, format);
  std::vector<float> rounded;
  for (size_t i = 0; i < row.size(); ++i) rounded.push_back(coded.Value(i));
  return rounded;
}

}  // namespace latentd::contract

namespace latentd::reference {

// What the codes of a row stand for, in double but for the code itself.
inline Vector RoundToCodes(const Vector& row, ScaleFormat format) {
  Vector rounded;
  for (size_t begin = 0; begin < row.size(); begin += kCodeGroup) {
    const size_t end = std::min(row.size(), begin + kCodeGroup);
    double peak = 1e-4;
    for (size_t i = begin; i < end; ++i) peak = std::max(peak, std::fabs(row[i]));
    const double scale = format == ScaleFormat::kF32 ? peak / 448.0 : std::exp2(std::ceil(std::log2(peak / 448.0)));
    for (size_t i = begin; i < end; ++i) {
      rounded.push_back(double{DecodeE4M3(EncodeE4M3(static_cast<float>(row[i] / scale)))} * scale);
    }
  }
  return rounded;
}

// What a product reads of its inputs.
enum class InputForm : uint8_t { kAsTheyAre, kBf16, kCodes };

inline Vector InForm(InputForm form, const Vector& x, ScaleFormat scales) {
  if (form == InputForm::kCodes) return RoundToCodes(x, scales);
  Vector read = x;
  for (double& value : read) {
    if (form == InputForm::kBf16) value = DecodeBf16(EncodeBf16(static_cast<float>(value)));
  }
  return read;
}

struct ExpertInputForms {
  InputForm gate = InputForm::kCodes;
  InputForm up = InputForm::kCodes;
  InputForm down = InputForm::kCodes;
};

// Apply of experts.h for inputs in these forms.
inline Vector ApplyRounded(const Expert& expert, const ExpertInputForms& forms, const Vector& x, ScaleFormat scales) {
  const Vector gate = Linear(expert.gate, InForm(forms.gate, x, scales));
  const Vector up = Linear(expert.up, InForm(forms.up, x, scales));
  Vector hidden(gate.size());
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  return Linear(expert.down, InForm(forms.down, hidden, scales));
}

}  // namespace latentd::reference

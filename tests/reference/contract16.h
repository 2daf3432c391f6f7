// The contract of products under a16 and a8 (docs/spec/numerics.md), in scalar loops that write out what Intel's tile
// unit does: what every kernel must equal bit for bit. Inputs are rounded to bf16, k runs in groups of 32.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/fp8.h"
#include "tests/reference/codes.h"
#include "tests/reference/contract.h"

namespace latentd::contract {

inline constexpr int kGroupInputs = 32;  // k that one tile product sums

// Nearest, ties to even.
inline float Bf16(float value) { return DecodeBf16(EncodeBf16(value)); }

inline std::vector<float> Bf16(const float* values, int count) {
  std::vector<float> rounded;
  for (int i = 0; i < count; ++i) rounded.push_back(Bf16(values[i]));
  return rounded;
}

inline constexpr float kSmallestNormal = 0x1p-126f;

inline float WithoutSubnormals(float value) {
  return std::fabs(value) < kSmallestNormal ? std::copysign(0.0f, value) : value;
}

// fma(a, b, c) of a unit that reads subnormals as zero (DAZ) and writes them as zero (FTZ). A result is subnormal if it
// is one after rounding to 24 bits with as small an exponent as it takes. Rounded to the grid of subnormals instead,
// such a result can reach 2^-126, so that one value is told apart by the exact sum: p + c = s + rest.
inline float FlushedFma(float a, float b, float c) {
  a = WithoutSubnormals(a);
  b = WithoutSubnormals(b);
  c = WithoutSubnormals(c);
  const float rounded = std::fma(a, b, c);
  if (std::fabs(rounded) == kSmallestNormal) {
    const double sign = rounded < 0.0f ? -1.0 : 1.0;
    const double p = sign * double{a} * double{b}, addend = sign * double{c};
    const double s = p + addend, part = s - p, rest = (p - (s - part)) + (addend - part);
    const double least = 0x1p-126 - 0x1p-151;  // rounds up to 2^-126, being a tie
    if (s < least || (s == least && rest < 0.0)) return std::copysign(0.0f, rounded);
  }
  return WithoutSubnormals(rounded);
}

inline float FlushedAdd(float a, float b) { return FlushedFma(a, 1.0f, b); }

// sum + x[0] w[0] + … of up to 32 products; the rest of the 32 are zeros, which changes nothing but the sign of a zero.
template <class Weight>
float AddGroup(const float* x, const Weight& w, int count, float sum) {
  float even = 0.0f, odd = 0.0f;
  for (int k = 0; k < kGroupInputs; ++k) {
    float& chain = k % 2 == 0 ? even : odd;
    chain = k < count ? FlushedFma(x[k], w(k), chain) : FlushedFma(0.0f, 0.0f, chain);
  }
  return FlushedAdd(sum, FlushedAdd(even, odd));
}

// One output's products with inputs [begin, end), x being bf16 values or those of codes.
inline float SumGroups(const Matrix& w, int n, const float* x, int begin, int end) {
  float sum = 0.0f;
  for (int k = begin; k < end; k += kGroupInputs)
    sum = AddGroup(
        x + k, [&](int i) { return w.Code(n, k + i); }, std::min(kGroupInputs, end - k), sum);
  return sum;
}

// a16. Rounds x itself.
inline std::vector<float> Linear16(const Matrix& w, const float* x) {
  if (w.is_fp32) return Linear(w, x);
  const std::vector<float> rounded = Bf16(x, w.inputs);
  std::vector<float> out;
  for (int n = 0; n < w.outputs; ++n) {
    float total = w.scaled ? 0.0f : SumGroups(w, n, rounded.data(), 0, w.inputs);
    for (int begin = 0, end; w.scaled && begin < w.inputs; begin = end) {
      end = w.BlockEnd(begin);
      total = std::fma(w.Scale(n, begin), SumGroups(w, n, rounded.data(), begin, end), total);
    }
    out.push_back(total);
  }
  return out;
}

// a8: a scaled matrix, whose blocks start where the groups of x's codes do, meets these codes.
inline std::vector<float> LinearCoded(const Matrix& w, const CodedRow& x) {
  std::vector<float> values;
  for (const uint8_t code : x.codes) values.push_back(DecodeE4M3(code));
  std::vector<float> out;
  for (int n = 0; n < w.outputs; ++n) {
    float total = 0.0f;
    for (int begin = 0, end; begin < w.inputs; begin = end) {
      end = w.BlockEnd(begin);
      const float scale = x.scales[static_cast<size_t>(begin / kCodeGroup)] * w.Scale(n, begin);
      total = std::fma(scale, SumGroups(w, n, values.data(), begin, end), total);
    }
    out.push_back(total);
  }
  return out;
}

// AddExpert of contract.h with the given product of a matrix and its inputs.
template <class Product>
void AddExpertBy(const Expert& expert, const std::vector<float>& x, float weight, std::vector<float>& out,
                 const Product& product) {
  std::vector<float> hidden = product(expert.gate, x);
  const std::vector<float> up = product(expert.up, x);
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = hidden[i] / (1.0f + Exp(-hidden[i])) * up[i];
  const std::vector<float> y = product(expert.down, hidden);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::fma(weight, y[i], out[i]);
}

// a16.
inline void AddExpert16(const Expert& expert, const std::vector<float>& x, float weight, std::vector<float>& out) {
  AddExpertBy(expert, x, weight, out,
              [](const Matrix& w, const std::vector<float>& inputs) { return Linear16(w, inputs.data()); });
}

// a8: codes of x and of the hidden layer meet the FP8 matrices, values the others.
inline void AddCodedExpert(const Expert& expert, const std::vector<float>& x, ScaleFormat format, float weight,
                           std::vector<float>& out) {
  AddExpertBy(expert, x, weight, out, [format](const Matrix& w, const std::vector<float>& inputs) {
    return w.is_fp8() ? LinearCoded(w, CodesOf(inputs, format)) : Linear(w, inputs.data());
  });
}

}  // namespace latentd::contract

#include "kernels/cpu/activation_codes.h"

#include <algorithm>
#include <cmath>

#include "kernels/fp8.h"

namespace latentd::cpu {
namespace {

constexpr float kSmallestPeak = 1e-4f;
constexpr float kLargestCode = 448.0f;

size_t Offset(int row, int stride) { return static_cast<size_t>(row) * static_cast<size_t>(stride); }

}  // namespace

void FillCodes(const Activation& activation, int row) {
  if (activation.codes == nullptr) return;
  const float* values = activation.values.Row(row);
  uint8_t* codes = activation.codes + Offset(row, activation.code_stride());
  for (int group = 0; group < activation.num_groups(); ++group) {
    const int begin = group * kCodeGroup, end = std::min(begin + kCodeGroup, activation.values.width);
    float peak = kSmallestPeak;
    for (int i = begin; i < end; ++i) peak = std::max(peak, std::fabs(values[i]));
    const float scale = peak / kLargestCode;
    activation.scales[Offset(row, activation.num_groups()) + static_cast<size_t>(group)] = scale;
    for (int i = begin; i < end; ++i) codes[i] = EncodeE4M3(values[i] / scale);
    std::fill(codes + end, codes + begin + kCodeGroup, uint8_t{0});
  }
}

void DecodeCodes(const Activation& activation, int row, float* to) {
  const uint8_t* codes = activation.codes + Offset(row, activation.code_stride());
  const float* scales = activation.scales + Offset(row, activation.num_groups());
  for (int i = 0; i < activation.values.width; ++i) to[i] = DecodeE4M3(codes[i]) * scales[i / kCodeGroup];
}

}  // namespace latentd::cpu

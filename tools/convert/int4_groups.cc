#include "tools/convert/int4_groups.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_names.h"
#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr float kLeastCode = -8.0f, kMostCode = 7.0f;
constexpr float kSmallestScale = 0x1p-126f;

// Where the largest magnitude may come to lie, negative; beyond -8.5 it is clipped. On normal values these nine scales
// leave 0.70 of kNearest's squared error; twice as many of both signs leave as much.
constexpr float kFirstExtreme = 7.0f, kLastExtreme = 9.0f, kExtremeStep = 0.25f;

float ToScale(float value) {
  const float scale = DecodeBf16(EncodeBf16(value));
  return std::fabs(scale) < kSmallestScale ? std::copysign(kSmallestScale, value) : scale;
}

// To nearest, ties to even: a quotient is far below 2^22, from where on floats have no fractions.
float Code(float value, float scale) {
  constexpr float kNoFractions = 0x1.8p23f;
  return std::clamp(value / scale + kNoFractions - kNoFractions, kLeastCode, kMostCode);
}

// Exact but for the sum's rounding: a difference has 24 bits, a code times a scale 12.
double SquaredError(std::span<const float> values, float scale) {
  double error = 0.0;
  for (const float value : values) {
    const double difference = value - Code(value, scale) * scale;
    error += difference * difference;
  }
  return error;
}

float SearchScale(std::span<const float> values, float extreme) {
  float best = ToScale(std::fabs(extreme) / kMostCode);
  double least = SquaredError(values, best);
  for (float code = kFirstExtreme; code <= kLastExtreme; code += kExtremeStep) {
    const float scale = ToScale(-extreme / code);
    const double error = SquaredError(values, scale);
    if (error >= least) continue;
    least = error;
    best = scale;
  }
  return best;
}

}  // namespace

bool BecomesInt4(const ExpectedTensor& tensor, Int4Tensors tensors) {
  if (!MayBeInt4(tensor.role)) return false;
  return tensors == Int4Tensors::kProjections || tensor_names::IsRoutedExpert(tensor.name);
}

Int4Codes QuantizeGroup(std::span<const float> values, Int4Scales scales) {
  CHECK(!values.empty() && values.size() <= kInt4Group);
  const float extreme =
      *std::max_element(values.begin(), values.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  Int4Codes codes;
  codes.nibbles.fill(static_cast<uint8_t>(-kLeastCode));
  codes.scale = extreme == 0.0f                   ? 1.0f
                : scales == Int4Scales::kSearched ? SearchScale(values, extreme)
                                                  : ToScale(std::fabs(extreme) / kMostCode);
  for (size_t i = 0; i < values.size(); ++i) {
    codes.nibbles[i] = static_cast<uint8_t>(Code(values[i], codes.scale) - kLeastCode);
  }
  return codes;
}

}  // namespace latentd

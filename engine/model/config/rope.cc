#include "engine/model/config/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace latentd {
namespace {

// m(a): how much attention is sharpened when the context is stretched.
double Sharpening(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

// γ of each pair: 0 keeps its frequency, 1 divides it by the factor.
class YarnRamp {
 public:
  YarnRamp(const YarnScaling& yarn, double theta, int rope_width) {
    const auto pair_turning = [&](double rotations) {  // the pair that turns so often within the original context
      return rope_width * std::log(yarn.original_context / (2.0 * std::numbers::pi * rotations)) /
             (2.0 * std::log(theta));
    };
    low_ = std::max(std::floor(pair_turning(yarn.beta_fast)), 0.0);
    high_ = std::min(std::ceil(pair_turning(yarn.beta_slow)), rope_width - 1.0);
    if (low_ == high_) high_ += 0.001;
  }
  double At(int pair) const { return std::clamp((pair - low_) / (high_ - low_), 0.0, 1.0); }

 private:
  double low_;
  double high_;
};

}  // namespace

std::vector<double> RopeFrequencies(const AttentionShape& attention, const RopeFacts& rope) {
  const int width = attention.rope_width;
  std::vector<double> frequencies;
  for (int i = 0; i < width / 2; ++i) frequencies.push_back(std::pow(rope.theta, -2.0 * i / width));
  if (!rope.yarn) return frequencies;

  const YarnRamp ramp(*rope.yarn, rope.theta, width);
  for (int i = 0; i < width / 2; ++i) {
    double& frequency = frequencies[static_cast<size_t>(i)];
    frequency = frequency * (1.0 - ramp.At(i)) + frequency / rope.yarn->factor * ramp.At(i);
  }
  return frequencies;
}

double RopeAmplitude(const RopeFacts& rope) {
  if (!rope.yarn) return 1.0;
  const YarnScaling& yarn = *rope.yarn;
  if (yarn.mscale == 0.0 || yarn.mscale_all_dim == 0.0) return Sharpening(yarn.factor, 1.0);
  return Sharpening(yarn.factor, yarn.mscale) / Sharpening(yarn.factor, yarn.mscale_all_dim);
}

std::vector<float> RopeAngles(const AttentionShape& attention, const RopeFacts& rope, int max_positions) {
  const std::vector<double> frequencies = RopeFrequencies(attention, rope);
  const double amplitude = RopeAmplitude(rope);
  const size_t pairs = frequencies.size();
  std::vector<float> angles(static_cast<size_t>(max_positions) * 2 * pairs);
  for (size_t position = 0; position < static_cast<size_t>(max_positions); ++position) {
    float* row = angles.data() + position * 2 * pairs;
    for (size_t i = 0; i < pairs; ++i) {
      const float angle = static_cast<float>(position) * static_cast<float>(frequencies[i]);
      row[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * amplitude);
      row[pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle)) * amplitude);
    }
  }
  return angles;
}

double SoftmaxScale(const AttentionShape& attention, const RopeFacts& rope) {
  const double plain = 1.0 / std::sqrt(attention.query_width());
  if (!rope.yarn || rope.yarn->mscale_all_dim == 0.0) return plain;
  const double sharpening = Sharpening(rope.yarn->factor, rope.yarn->mscale_all_dim);
  return plain * sharpening * sharpening;
}

}  // namespace latentd

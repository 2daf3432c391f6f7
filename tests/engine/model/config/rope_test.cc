// Golden values of docs/spec/deepseek.md 3.4, and the table of angles as queries and keys meet it.
#include "engine/model/config/rope.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "engine/model/config/model_config.h"
#include "kernels/backend.h"
#include "tests/engine/model/config/published_configs.h"
#include "tests/kernels/ops/tokens.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

ModelConfig Load(std::string_view json) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", json);
  absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : ModelConfig();
}

void ExpectFrequencies(const ModelConfig& config, const std::map<size_t, double>& goldens) {
  const std::vector<double> frequencies = RopeFrequencies(config.attention, config.rope);
  ASSERT_EQ(frequencies.size(), 32u);
  for (const auto& [pair, golden] : goldens) {
    EXPECT_NEAR(frequencies[pair], golden, 1e-6 * golden) << "pair " << pair;
  }
}

const std::map<size_t, double> kV3Frequencies = {{0, 1.0},           {10, 0.0562341325},  {11, 0.0390069266},
                                                 {16, 0.0055},       {20, 7.90569415e-4}, {23, 3.33380358e-5},
                                                 {31, 3.33380358e-6}};

TEST(Rope, DeepSeekV3) {
  const ModelConfig config = Load(kV3Json);
  ExpectFrequencies(config, kV3Frequencies);
  EXPECT_NEAR(config.softmax_scale, 0.1352337789, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
  EXPECT_EQ(config.rope.pairs, RopePairs::kAdjacent);
}

TEST(Rope, DeepSeekV2LiteHasItsOwnMscale) {
  const ModelConfig config = Load(kV2LiteJson);
  ExpectFrequencies(config, kV3Frequencies);
  EXPECT_NEAR(config.softmax_scale, 0.1147213868, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
}

TEST(Rope, KimiK2IsAStep) {
  const ModelConfig k32 = Load(KimiK2Json(32.0));
  ExpectFrequencies(k32, {{0, 1.0}, {19, 1.62175991e-3}, {20, 3.61404677e-5}});
  EXPECT_NEAR(k32.softmax_scale, 0.1308608000, 1e-9);
  const ModelConfig k64 = Load(KimiK2Json(64.0));
  ExpectFrequencies(k64, {{19, 1.62175991e-3}, {20, 3.61404677e-5 / 2.0}});
  EXPECT_NEAR(k64.softmax_scale, 0.1446796258, 1e-9);
}

TEST(Rope, MoonlightHasNoScaling) {
  const ModelConfig config = Load(kMoonlightJson);
  EXPECT_FALSE(config.rope.yarn.has_value());
  ExpectFrequencies(config, {{0, 1.0}, {1, 0.713111084911932}, {16, 0.00447213595499958}});
  EXPECT_NEAR(config.softmax_scale, 0.0721687836, 1e-9);
  EXPECT_EQ(RopeAmplitude(config.rope), 1.0);
}

// Where mscale_all_dim is absent, sharpening goes into cosines and sines, not into the logits.
TEST(Rope, AmplitudeWithoutMscaleAllDim) {
  ModelConfig config = Load(kV3Json);
  config.rope.yarn->mscale_all_dim = 0.0;
  EXPECT_NEAR(RopeAmplitude(config.rope), 1.3688879454, 1e-9);
  EXPECT_NEAR(SoftmaxScale(config.attention, config.rope), 0.0721687836, 1e-9);
}

// No release has it so: with factor 40, m(0.7) / m(1.3) in cosines and sines, m(1.3)² in the logits. Where the first is
// absent, transformers takes m(1) for the quotient.
TEST(Rope, MscalesMayDiffer) {
  ModelConfig config = Load(kV3Json);
  config.rope.yarn->mscale = 0.7;
  config.rope.yarn->mscale_all_dim = 1.3;
  EXPECT_NEAR(RopeAmplitude(config.rope), 0.8504057857806258, 1e-12);
  EXPECT_NEAR(SoftmaxScale(config.attention, config.rope), 0.15798331398533472, 1e-12);
  config.rope.yarn->mscale = 0.0;
  EXPECT_NEAR(RopeAmplitude(config.rope), 1.3688879454113936, 1e-12);
  EXPECT_NEAR(SoftmaxScale(config.attention, config.rope), 0.15798331398533472, 1e-12);
}

using Values = std::vector<float>;

double Dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// One vector at many positions, rotated by the backend with the model's table, and rotated in double.
class Rotation {
 public:
  Rotation(const ModelConfig& config, int max_positions)
      : frequencies_(RopeFrequencies(config.attention, config.rope)),
        width_(config.attention.rope_width),
        angles_(RopeAngles(config.attention, config.rope, max_positions)),
        table_{.angles = {angles_.data(), max_positions, width_, width_}, .pairs = config.rope.pairs} {}

  std::vector<double> Computed(Values x, int position) {
    const BatchInputs batch = TokensAt({position});
    backend_.ops->RotateQueries(ViewOf(batch), table_, {.num_heads = 1, .nope_width = 0, .rope_width = width_},
                                {x.data(), 1, width_, width_});
    return {x.begin(), x.end()};
  }
  std::vector<double> Exact(const Values& x, int position) const {
    std::vector<double> y(x.begin(), x.end());
    for (size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = position * frequencies_[i], a = x[2 * i], b = x[2 * i + 1];
      y[2 * i] = a * std::cos(angle) - b * std::sin(angle);
      y[2 * i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
    return y;
  }

 private:
  std::vector<double> frequencies_;
  int width_;
  Values angles_;
  RopeTable table_;
  Backend backend_ = MakeCpuBackend(1).value();
};

Values Normal(size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Values values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(Rope, KeepsNormsAndScoresDependOnTheDistanceAlone) {
  std::mt19937 random(1);
  Rotation rotation(Load(kV3Json), 300);
  const Values q = Normal(64, random), k = Normal(64, random);
  const double size =
      std::sqrt(Dot(rotation.Exact(q, 0), rotation.Exact(q, 0)) * Dot(rotation.Exact(k, 0), rotation.Exact(k, 0)));
  for (const int distance : {0, 1, 17, 90}) {
    const double score = Dot(rotation.Computed(q, distance), rotation.Computed(k, 0));
    for (const int shift : {1, 64, 200}) {
      const std::vector<double> turned = rotation.Computed(q, distance + shift);
      EXPECT_NEAR(Dot(turned, rotation.Computed(k, shift)), score, 1e-5 * size) << distance << " + " << shift;
      EXPECT_NEAR(Dot(turned, turned), Dot(rotation.Exact(q, 0), rotation.Exact(q, 0)), 1e-5 * size);
    }
  }
}

// Heads of the published size at one position, with the keys just before it, one half-way and the first.
class FarAttention {
 public:
  explicit FarAttention(int position) : position_(position) {
    for (int p = std::max(0, position - 30); p <= position; ++p) positions_.push_back(p);
    if (position > 60) positions_.insert(positions_.begin(), {0, position / 2});
    q_nope_ = Normal(128, random_);
    q_rope_ = Normal(64, random_);
    for (size_t j = 0; j < positions_.size(); ++j) {
      k_nope_.push_back(Normal(128, random_));
      k_rope_.push_back(Normal(64, random_));
      v_.push_back(Normal(128, random_));
    }
  }

  template <class Rotate>
  std::vector<double> Attend(double scale, const Rotate& rotate) const {
    std::vector<double> weights, out(128, 0.0);
    double total = 0.0;
    const std::vector<double> q = rotate(q_rope_, position_);
    for (size_t j = 0; j < positions_.size(); ++j) {
      const double nope = std::inner_product(q_nope_.begin(), q_nope_.end(), k_nope_[j].begin(), 0.0);
      weights.push_back(std::exp(scale * (nope + Dot(q, rotate(k_rope_[j], positions_[j])))));
      total += weights.back();
    }
    for (size_t j = 0; j < v_.size(); ++j) {
      for (size_t i = 0; i < out.size(); ++i) out[i] += weights[j] / total * v_[j][i];
    }
    return out;
  }

 private:
  std::mt19937 random_{2};  // fixed: a failure repeats
  int position_;
  std::vector<int> positions_;
  Values q_nope_, q_rope_;
  std::vector<Values> k_nope_, k_rope_, v_;
};

TEST(Rope, FarPositionsAttendAsInDouble) {
  const ModelConfig config = Load(kV3Json);
  Rotation rotation(config, config.max_context);
  for (const int position : {0, 4095, 4096, 40000, 163839}) {
    const FarAttention attention(position);
    const std::vector<double> computed =
        attention.Attend(config.softmax_scale, [&](const Values& x, int p) { return rotation.Computed(x, p); });
    const std::vector<double> exact =
        attention.Attend(config.softmax_scale, [&](const Values& x, int p) { return rotation.Exact(x, p); });
    double squares = 0.0;
    for (size_t i = 0; i < exact.size(); ++i) squares += std::pow(computed[i] - exact[i], 2);
    const double error = std::sqrt(squares / Dot(exact, exact));
    EXPECT_LE(error, 1e-3) << "position " << position;
    std::printf("position %d: relative error %.1e\n", position, error);
  }
}

}  // namespace
}  // namespace latentd

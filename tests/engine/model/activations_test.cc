// The formats of activations in the model: that no bit depends on a row's company in any, and what
// DeepSeek's arithmetic gave for W8A8. device_codes_test.cc has which products read codes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "kernels/cpu/activation_codes.h"
#include "tests/engine/model/goldens.h"
#include "tests/kernels/emulated_product.h"
#include "tests/reference/linear.h"
#include "tests/support/each_target.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/model_session.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

const char* const kModel = "models/tiny-tales";

std::vector<int32_t> RandomIds(size_t count, int vocab_size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int32_t> ids(0, vocab_size - 1);
  std::vector<int32_t> result(count);
  for (int32_t& id : result) id = ids(random);
  return result;
}

reference::Vector ToDouble(std::span<const float> row) { return {row.begin(), row.end()}; }

double RelativeError(std::span<const float> row, const reference::Vector& expected) {
  double difference = 0.0, magnitude = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (double{row[i]} - expected[i]) * (double{row[i]} - expected[i]);
    magnitude += expected[i] * expected[i];
  }
  return magnitude == 0.0 ? std::sqrt(difference) : std::sqrt(difference / magnitude);
}

class ValuesOnly final : public ForwardingOps {
 public:
  explicit ValuesOnly(Ops& to) : ForwardingOps(to) {}
  std::span<const ActivationFormat> activation_formats() const override {
    static constexpr ActivationFormat kFormats[] = {ActivationFormat::kF32};
    return kFormats;
  }
};

TEST(Activations, ThatTheBackendDoesNotComputeWithAreRefused) {
  const ModelConfig config = OrDie(LoadModelConfig(kModel));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(kModel, config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  ValuesOnly ops(*backend.ops);
  for (const ActivationFormat other : {ActivationFormat::kBf16, ActivationFormat::kE4M3}) {
    const ModelLimits limits = {.num_blocks = 2, .max_tokens = 1, .max_rows = 1, .activations = other};
    const absl::Status status = Model::Load(checkpoint, config, limits, *backend.device, ops).status();
    EXPECT_EQ(status,
              absl::InvalidArgumentError("activations: expected what this backend computes with (fp32), found " +
                                         std::string(NameOf(other))));
  }
}

// The bundled model under each format that rounds; its FP8 weights were trained with none of them.
class RoundedActivations : public testing::TestWithParam<ActivationFormat> {
 protected:
  static ModelSession Session(ModelSession::Options options = {}) {
    options.activations = GetParam();
    return {kModel, options};
  }
};

TEST_P(RoundedActivations, ChunksThreadsBlocksAndInstructionSetsChangeNoBit) {
  const std::vector<int32_t> ids = RandomIds(100, 4081, 8), positions = AllPositions(ids.size());
  ModelSession session = Session();
  const LogitRows whole = session.Run(ids, positions);
  for (const int chunk : {1, 7, 64, 99})
    EXPECT_TRUE(SameBytes(session.Run(ids, positions, chunk), whole)) << "chunks of " << chunk;
  for (const int threads : {1, 5})
    EXPECT_TRUE(SameBytes(Session({.num_threads = threads}).Run(ids, positions), whole)) << threads << " threads";
  EXPECT_TRUE(SameBytes(Session({.block_seed = 4}).Run(ids, positions), whole));
  ForEachTarget([&] {
    const LogitRows first = Session().Run(std::span(ids).first(30), AllPositions(30));
    EXPECT_TRUE(SameBytes(first, LogitRows(whole.begin(), whole.begin() + 30)));
  });
}

// All products that may, on the machine's tile unit or on an emulated one.
TEST_P(RoundedActivations, TilesChangeNoBit) {
  const int32_t positions[] = {0, 7, 8};
  const std::vector<int32_t> ids = RandomIds(9, 4081, 31);
  const LogitRows want = Session().Run(ids, positions, 8);
  const OnTiles tiles;
  EXPECT_TRUE(SameBytes(Session().Run(ids, positions, 8), want));
}

TEST_P(RoundedActivations, AloneIsAsInCompany) {
  ModelSession session = Session({.max_logit_rows = 1024}), alone = Session();
  std::vector<ModelSession::Row> rows;
  std::vector<std::vector<int32_t>> ids;
  for (size_t i = 0; i < 20; ++i) ids.push_back(RandomIds(1 + 3 * i, 4081, i));
  for (const std::vector<int32_t>& sequence : ids)
    rows.push_back({.sequence = session.AddSequence(), .ids = sequence, .wanted = AllPositions(sequence.size())});
  std::reverse(rows.begin(), rows.end());
  const LogitRows together = session.Step(rows);
  auto next = together.begin();
  for (const ModelSession::Row& row : rows) {
    const LogitRows expected = alone.Run(row.ids, row.wanted);
    EXPECT_TRUE(SameBytes(LogitRows(next, next + std::ssize(expected)), expected)) << "sequence " << row.sequence;
    next += std::ssize(expected);
  }
}

// docs/spec/deepseek.md 8, item 20.
TEST_P(RoundedActivations, LogitsOfTheBundledModelAreCloseToThoseOfFp32) {
  const Goldens goldens("tests/data/tiny-tales/goldens-fp8.safetensors");
  ModelSession values(kModel, {}), rounded = Session();
  double least = 1.0;
  for (const std::string& prompt : goldens.prompts()) {
    std::vector<int32_t> ids = goldens.Ints("ids." + prompt);
    ids.resize(std::min<size_t>(ids.size(), 300));
    const LogitRows a = values.Run(ids, AllPositions(ids.size())), b = rounded.Run(ids, AllPositions(ids.size()));
    EXPECT_FALSE(SameBytes(a, b)) << prompt;
    double dot = 0.0, squares_a = 0.0, squares_b = 0.0;
    for (size_t t = 0; t < a.size(); ++t) {
      for (size_t i = 0; i < a[t].size(); ++i) {
        dot += double{a[t][i]} * double{b[t][i]};
        squares_a += double{a[t][i]} * double{a[t][i]};
        squares_b += double{b[t][i]} * double{b[t][i]};
      }
    }
    least = std::min(least, dot / std::sqrt(squares_a * squares_b));
  }
  std::printf("smallest cosine of a prompt's logits: %.5f\n", least);
  EXPECT_GE(least, GetParam() == ActivationFormat::kBf16 ? 0.999 : 0.99);
}

std::vector<ActivationFormat> Rounded() {
  const Backend backend = OrDie(MakeCpuBackend(1));
  std::vector<ActivationFormat> formats;
  for (const ActivationFormat format : backend.ops->activation_formats()) {
    if (format != ActivationFormat::kF32) formats.push_back(format);
  }
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Cpu, RoundedActivations, testing::ValuesIn(Rounded()),
                         [](const auto& format) { return std::string(NameOf(format.param)); });

// What DeepSeek's own arithmetic gave for random checkpoints. Their prompts `w8a8_kvb` leave the inputs of kv_b alone,
// as the absorbed form has to; those of `w8a8`, which quantise them too, are another arithmetic than ours.
class PublishedFp8 : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    directory_ = SharedGoldens("goldens/family") / GetParam();
    if (!AreThere(directory_)) GTEST_SKIP();
    goldens_ = std::make_unique<Goldens>(directory_ / "goldens.safetensors");
  }
  // The rest of the names that begin so.
  std::vector<std::string> Recorded(const std::string& prefix) const {
    std::vector<std::string> names;
    const SafetensorsFile file = OrDie(SafetensorsFile::Open(directory_ / "goldens.safetensors"));
    for (const SafetensorsEntry& entry : file.entries()) {
      if (entry.name.starts_with(prefix)) names.push_back(entry.name.substr(prefix.size()));
    }
    return names;
  }

  std::filesystem::path directory_;
  std::unique_ptr<Goldens> goldens_;
};

TEST_P(PublishedFp8, SingleLayersAreTheRecordedOnes) {
  constexpr int kRows = 5;
  const ModelConfig config = OrDie(LoadModelConfig(directory_));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory_, config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  ThreadPool pool(1);
  const std::vector<std::string> names = Recorded("w8a8.linear.x.");
  ASSERT_FALSE(names.empty());
  double worst = 0.0;
  for (const std::string& name : names) {
    const MatrixSource source = checkpoint.Matrix(name + ".weight");
    ASSERT_EQ(source.dtype, DType::kE4M3) << name;
    std::vector<float> x = goldens_->Floats("w8a8.linear.x." + name);
    const std::vector<float> expected = goldens_->Floats("w8a8.linear.y." + name);
    Activation activation(Tensor{x.data(), kRows, source.inputs, source.inputs});
    std::vector<uint8_t> codes(static_cast<size_t>(kRows * activation.code_stride()));
    std::vector<float> scales(static_cast<size_t>(kRows * activation.num_groups()));
    activation.codes = codes.data();
    activation.scales = scales.data();
    activation.scale_format = CodeScaleFormat(config);
    cpu::FillCodes(pool, activation);
    std::vector<float> y(expected.size());
    ASSERT_TRUE(backend.ops
                    ->Reserve({.max_tokens = kRows,
                               .max_context = 1,
                               .max_linear_inputs = source.inputs,
                               .attention = {.num_heads = 1, .latent_width = 1},
                               .activations = ActivationFormat::kE4M3})
                    .ok());
    backend.ops->Linear(activation, *OrDie(backend.ops->PackLinear(source)),
                        {y.data(), kRows, source.outputs, source.outputs});
    const auto width = static_cast<size_t>(source.outputs);
    for (size_t row = 0; row < kRows; ++row) {
      const auto got = std::span<const float>(y).subspan(row * width, width);
      const double error = RelativeError(got, ToDouble(std::span<const float>(expected).subspan(row * width, width)));
      EXPECT_LT(error, 1e-5) << name << " row " << row;
      worst = std::max(worst, error);
    }
  }
  std::printf("%s: %zu layers, largest relative error of a row %.1e\n", GetParam(), names.size(), worst);
}

TEST_P(PublishedFp8, PromptsHaveTheRecordedLogits) {
  ModelSession session(directory_, {.max_context = 64, .activations = ActivationFormat::kE4M3});
  ModelSession weight_only(directory_, {.max_context = 64});
  const std::vector<std::string> prompts = Recorded("w8a8_kvb.ids.");
  ASSERT_FALSE(prompts.empty());
  float worst = 0.0f;
  for (const std::string& prompt : prompts) {
    const std::vector<int32_t> ids = goldens_->Ints("w8a8_kvb.ids." + prompt);
    const std::vector<float> expected = goldens_->Floats("w8a8_kvb.logits." + prompt);
    const LogitRows logits = session.Run(ids, AllPositions(ids.size()));
    const LogitRows other = weight_only.Run(ids, AllPositions(ids.size()));
    const size_t width = logits[0].size();
    ASSERT_EQ(expected.size(), ids.size() * width);
    float apart = 0.0f;
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(logits[i / width][i % width], expected[i], 2e-3) << prompt << " value " << i;
      worst = std::max(worst, std::fabs(logits[i / width][i % width] - expected[i]));
      apart = std::max(apart, std::fabs(other[i / width][i % width] - expected[i]));
    }
    EXPECT_GT(apart, 0.1f) << prompt << ": weight-only logits are others";
  }
  std::printf("%s: %zu prompts, largest difference of a logit %.1e\n", GetParam(), prompts.size(), double{worst});
}

INSTANTIATE_TEST_SUITE_P(Published, PublishedFp8, testing::Values("v3", "v31", "v31_e8m0", "k2"),
                         [](const auto& variant) { return std::string(variant.param); });

}  // namespace
}  // namespace latentd

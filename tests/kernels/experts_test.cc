// MixExperts on the CPU, bit for bit against the contract.
#include "kernels/cpu/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_device.h"
#include "tests/kernels/emulated_product.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/codes.h"
#include "tests/reference/contract16.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using cpu::CpuDevice;

// Rows of x as one kind of product reads them.
class InputRows {
 public:
  InputRows(const Tensor& x, cpu::InputKind kind, ScaleFormat format = ScaleFormat::kF32) : kind_(kind) {
    for (int r = 0; r < x.rows; ++r) {
      values_.emplace_back(x.Row(r), x.Row(r) + x.width);
      if (kind == cpu::InputKind::kBf16) values_.back() = contract::Bf16(x.Row(r), x.width);
      if (kind != cpu::InputKind::kCodes) continue;
      const contract::CodedRow coded = contract::CodesOf(values_.back(), format);
      for (size_t i = 0; i < values_.back().size(); ++i) values_.back()[i] = DecodeE4M3(coded.codes[i]);
      scales_.push_back(coded.scales);
    }
    for (const std::vector<float>& row : values_) value_rows_.push_back(row.data());
    for (const std::vector<float>& row : scales_) scale_rows_.push_back(row.data());
  }
  InputRows(const InputRows&) = delete;
  InputRows& operator=(const InputRows&) = delete;

  cpu::ProductRows rows() const {
    return {.arithmetic = kind_ == cpu::InputKind::kAsTheyAre ? cpu::Arithmetic::kA32 : cpu::Arithmetic::kA16,
            .values = value_rows_.data(),
            .scales = scale_rows_.empty() ? nullptr : scale_rows_.data()};
  }

 private:
  const cpu::InputKind kind_;
  std::vector<std::vector<float>> values_, scales_;
  std::vector<const float*> value_rows_, scale_rows_;
};

// A layer of experts, with a routing for up to max_rows rows.
class ExpertsLayer {
 public:
  struct Sizes {
    int hidden = 0;
    int width = 0;
    int shared_width = 0;  // 0: no shared expert
    int num_experts = 0;
    int experts_per_token = 0;
  };

  ExpertsLayer(const Sizes& sizes, std::vector<DType> dtypes, int max_rows, int seed,
               size_t max_wave_bytes = cpu::ExpertScratch::kMaxWaveBytes)
      : sizes_(sizes),
        dtypes_(std::move(dtypes)),
        random_(static_cast<unsigned>(seed)),
        x_(max_rows, sizes.hidden, random_),
        max_wave_bytes_(max_wave_bytes) {
    for (int e = 0; e < sizes.num_experts; ++e) Make(sizes.width);
    if (sizes.shared_width > 0) Make(sizes.shared_width);
    Pack();
    std::vector<int32_t> ids(static_cast<size_t>(sizes.num_experts));
    std::iota(ids.begin(), ids.end(), 0);
    for (int r = 0; r < max_rows; ++r) {
      std::shuffle(ids.begin(), ids.end(), random_);
      for (int i = 0; i < sizes.experts_per_token; ++i) {
        chosen_.push_back(ids[static_cast<size_t>(i)]);
        weights_.push_back(0.1f + 0.2f * static_cast<float>(i));
      }
    }
  }

  // With the tiles that are in use now.
  void Reserve() {
    const StepLimits limits{.max_tokens = x_.tensor().rows,
                            .hidden_size = sizes_.hidden,
                            .attention = {},
                            .experts_per_token = sizes_.experts_per_token,
                            .expert_width = sizes_.width,
                            .shared_expert_width = sizes_.shared_width,
                            .activations = ActivationFormat::kE4M3};
    EXPECT_TRUE(scratch_.Reserve(device_, limits, max_wave_bytes_).ok());
  }

  float* x(int row) { return x_.tensor().Row(row); }
  void ChooseEverywhere(int32_t expert) { std::fill(chosen_.begin(), chosen_.end(), expert); }

  // From here on.
  void Use(ActivationFormat activations, ScaleFormat scale_format = ScaleFormat::kF32) {
    activations_ = activations;
    scale_format_ = scale_format;
  }

  OwnedTensor Mix(ThreadPool& pool, int first_row, int rows) {
    OwnedTensor out(rows, sizes_.hidden);
    const int first_choice = first_row * sizes_.experts_per_token;
    const Routing routing{chosen_.data() + first_choice, weights_.data() + first_choice, rows,
                          sizes_.experts_per_token};
    const InputRows as_they_are(x_.tensor(), cpu::InputKind::kAsTheyAre), bf16(x_.tensor(), cpu::InputKind::kBf16),
        codes(x_.tensor(), cpu::InputKind::kCodes, scale_format_);
    const bool has_codes = activations_ == ActivationFormat::kE4M3;
    const cpu::ExpertInputs inputs{
        .format = activations_,
        .has_codes = has_codes,
        .scale_format = scale_format_,
        .num_rows = rows,
        .rows = {as_they_are.rows().From(first_row), bf16.rows().From(first_row), codes.rows().From(first_row)}};
    cpu::MixExperts(pool, inputs, routing, *packed_, scratch_, out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    return out;
  }

  // The experts of a row in ascending id, the shared one last.
  struct Choice {
    size_t expert;
    float weight;
  };
  std::vector<Choice> Choices(int row) const {
    std::vector<Choice> choices;
    for (int i = row * sizes_.experts_per_token; i < (row + 1) * sizes_.experts_per_token; ++i)
      choices.push_back({static_cast<size_t>(chosen_[static_cast<size_t>(i)]), weights_[static_cast<size_t>(i)]});
    std::sort(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) { return a.expert < b.expert; });
    if (sizes_.shared_width > 0) choices.push_back({exact_.size() - 1, 1.0f});
    return choices;
  }
  std::vector<float> Exact(int row) const {
    std::vector<float> out(static_cast<size_t>(sizes_.hidden), 0.0f);
    const std::vector<float> x = x_.Row(row);
    for (const Choice& choice : Choices(row)) {
      const contract::Expert& expert = exact_[choice.expert];
      switch (activations_) {
        case ActivationFormat::kF32:
          contract::AddExpert(expert, x.data(), choice.weight, out);
          break;
        case ActivationFormat::kBf16:
          contract::AddExpert16(expert, x, choice.weight, out);
          break;
        case ActivationFormat::kE4M3:
          contract::AddCodedExpert(expert, x, scale_format_, choice.weight, out);
          break;
      }
    }
    return out;
  }

 private:
  struct StoredExpert {
    StoredMatrix gate, up, down;
  };
  void Make(int width) {
    StoredExpert expert{Next(width, sizes_.hidden), Next(width, sizes_.hidden), Next(sizes_.hidden, width)};
    exact_.push_back({expert.gate.Contract(), expert.up.Contract(), expert.down.Contract()});
    stored_.push_back(std::move(expert));
  }
  StoredMatrix Next(int outputs, int inputs) {
    return StoredMatrix::Random(dtypes_[next_dtype_++ % dtypes_.size()], outputs, inputs, random_);
  }
  void Pack() {
    std::vector<ExpertSource> sources;
    for (const StoredExpert& expert : stored_)
      sources.push_back({expert.gate.Source(), expert.up.Source(), expert.down.Source()});
    ThreadPool pool(1);
    const auto num_routed = static_cast<size_t>(sizes_.num_experts);
    packed_ = *cpu::PackedExperts::Pack(device_, pool, std::span(sources).first(num_routed),
                                        sources.size() > num_routed ? &sources.back() : nullptr);
  }

  Sizes sizes_;
  std::vector<DType> dtypes_;
  size_t next_dtype_ = 0;
  std::mt19937 random_;
  OwnedTensor x_;
  size_t max_wave_bytes_;
  CpuDevice device_;
  std::vector<StoredExpert> stored_;  // the shared expert is the last
  std::unique_ptr<const cpu::PackedExperts> packed_;
  std::vector<contract::Expert> exact_;  // the shared expert is the last
  std::vector<int32_t> chosen_;
  std::vector<float> weights_;
  cpu::ExpertScratch scratch_;
  ActivationFormat activations_ = ActivationFormat::kF32;
  ScaleFormat scale_format_ = ScaleFormat::kF32;
};

constexpr ExpertsLayer::Sizes kOdd{
    .hidden = 130, .width = 200, .shared_width = 77, .num_experts = 8, .experts_per_token = 3};
constexpr ExpertsLayer::Sizes kEven{
    .hidden = 128, .width = 64, .shared_width = 0, .num_experts = 4, .experts_per_token = 2};

void ExpectExact(ExpertsLayer& layer, const std::vector<int>& row_counts,
                 const std::vector<int>& thread_counts = {1, 2, 5}) {
  std::vector<std::vector<float>> want;
  for (int r = 0; r < row_counts.back(); ++r) want.push_back(layer.Exact(r));
  for (const int threads : thread_counts) {
    ThreadPool pool(threads);
    ForEachTarget([&] {
      layer.Reserve();
      for (const int rows : row_counts) {
        const OwnedTensor got = layer.Mix(pool, 0, rows);
        for (int r = 0; r < rows; ++r)
          ASSERT_TRUE(SameBytes(got.Row(r), want[static_cast<size_t>(r)]))
              << threads << " threads, row " << r << " of " << rows;
      }
    });
  }
}

TEST(MixExperts, EqualsTheContractBitForBit) {
  for (const ActivationFormat activations : {ActivationFormat::kF32, ActivationFormat::kBf16}) {
    ExpertsLayer fp8(kOdd, {DType::kE4M3}, 40, 20);
    fp8.Use(activations);
    ExpectExact(fp8, {0, 1, 20});
    ExpertsLayer bf16(kEven, {DType::kBf16}, 40, 21);
    bf16.Use(activations);
    ExpectExact(bf16, {1, 20});
    ExpertsLayer int4(kOdd, {DType::kInt4}, 40, 26);
    int4.Use(activations);
    ExpectExact(int4, {0, 1, 20});
  }
}

TEST(MixExperts, MatricesOfOneExpertMayDifferInFormat) {
  for (const ActivationFormat activations : {ActivationFormat::kF32, ActivationFormat::kBf16}) {
    ExpertsLayer mixed(kOdd, {DType::kE4M3, DType::kBf16, DType::kF32, DType::kInt4}, 20, 22);
    mixed.Use(activations);
    ExpectExact(mixed, {1, 9});
  }
}

TEST(MixExperts, WithCodesEqualsTheContractBitForBit) {
  for (const ScaleFormat format : {ScaleFormat::kF32, ScaleFormat::kUe8m0}) {
    ExpertsLayer fp8(kOdd, {DType::kE4M3}, 20, 24);
    fp8.Use(ActivationFormat::kE4M3, format);
    ExpectExact(fp8, {1, 12});
    ExpertsLayer mixed(kOdd, {DType::kE4M3, DType::kBf16, DType::kF32, DType::kInt4}, 20, 25);
    mixed.Use(ActivationFormat::kE4M3, format);
    ExpectExact(mixed, {9});
  }
}

TEST(MixExperts, OneExpertTakesAllRows) {
  ExpertsLayer layer({.hidden = 40, .width = 24, .shared_width = 24, .num_experts = 4, .experts_per_token = 1},
                     {DType::kE4M3}, 230, 23);
  layer.ChooseEverywhere(2);
  ExpectExact(layer, {230});
}

// Waves of all jobs, of some, and of parts of one.
TEST(MixExperts, OnTilesEqualsTheContractBitForBit) {
  const OnTiles tiles;
  constexpr ExpertsLayer::Sizes kSizes{
      .hidden = 70, .width = 70, .shared_width = 24, .num_experts = 3, .experts_per_token = 2};
  for (const size_t wave_bytes : {cpu::ExpertScratch::kMaxWaveBytes, size_t{8'000}, size_t{1}}) {
    for (const ActivationFormat activations : {ActivationFormat::kBf16, ActivationFormat::kE4M3}) {
      ExpertsLayer fp8(kSizes, {DType::kE4M3}, 34, 28, wave_bytes);
      fp8.Use(activations);
      ExpectExact(fp8, {1, 34}, {2});
      ExpertsLayer mixed(kSizes, {DType::kE4M3, DType::kBf16, DType::kF32, DType::kInt4, DType::kE4M3}, 20, 27,
                         wave_bytes);
      mixed.Use(activations);
      ExpectExact(mixed, {20}, {2});
    }
  }
}

// A value that rounds to infinity, of which a panel's unused lanes, whose weights are zeros, make no number.
TEST(MixExperts, UnusedLanesReachNoOutput) {
  ExpertsLayer layer({.hidden = 40, .width = 1, .shared_width = 0, .num_experts = 2, .experts_per_token = 1},
                     {DType::kBf16}, 3, 29);
  layer.Use(ActivationFormat::kBf16);
  layer.x(1)[5] = std::numeric_limits<float>::max();
  ASSERT_TRUE(std::isinf(layer.Exact(1)[0]));
  ExpectExact(layer, {3}, {1});
  const OnTiles tiles;
  ExpectExact(layer, {3}, {1});
}

}  // namespace
}  // namespace latentd

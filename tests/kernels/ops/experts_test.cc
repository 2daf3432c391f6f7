// MixExperts on any backend: against the paper in double, and a row's independence of its company.
#include "tests/reference/experts.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/expected_codes.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using Rows = std::vector<std::vector<float>>;

struct Sizes {
  int hidden = 0;
  int width = 0;
  int shared_width = 0;  // 0: no shared expert
  int num_experts = 0;
  int experts_per_token = 0;
};

StepLimits LimitsOf(const Sizes& sizes, int max_rows, ActivationFormat activations) {
  StepLimits limits = SmallLimits(activations);
  limits.max_tokens = max_rows;
  limits.max_linear_inputs = std::max({sizes.hidden, sizes.width, sizes.shared_width});
  limits.hidden_size = sizes.hidden;
  limits.experts_per_token = sizes.experts_per_token;
  limits.expert_width = sizes.width;
  limits.shared_expert_width = sizes.shared_width;
  return limits;
}

// A layer of experts with a routing for its rows. Matrices take the dtypes in turn.
class ExpertsLayer {
 public:
  ExpertsLayer(const Sizes& sizes, std::vector<DType> dtypes, int rows, unsigned seed,
               ActivationFormat activations = ActivationFormat::kF32)
      : sizes_(sizes),
        dtypes_(std::move(dtypes)),
        activations_(activations),
        random_(seed),
        backend_(MakeTestBackend(LimitsOf(sizes, rows, activations))),
        x_(backend_, RandomRows(rows, sizes.hidden, random_)) {
    for (int e = 0; e < sizes.num_experts; ++e) Add(sizes.width);
    if (sizes.shared_width > 0) Add(sizes.shared_width);
    std::vector<ExpertSource> sources;
    for (const Stored& expert : stored_)
      sources.push_back({expert.gate.Source(), expert.up.Source(), expert.down.Source()});
    const auto routed = static_cast<size_t>(sizes.num_experts);
    packed_ = OrDie(backend_.ops->PackExperts(std::span(sources).first(routed),
                                              sizes.shared_width > 0 ? &sources.back() : nullptr));
    std::vector<int32_t> ids(routed);
    std::iota(ids.begin(), ids.end(), 0);
    for (int r = 0; r < rows; ++r) {
      std::shuffle(ids.begin(), ids.end(), random_);
      for (int i = 0; i < sizes.experts_per_token; ++i) {
        chosen_.push_back(ids[static_cast<size_t>(i)]);
        weights_.push_back(0.1f + 0.2f * static_cast<float>(i));
      }
    }
  }

  void ChooseEverywhere(int32_t expert) { std::fill(chosen_.begin(), chosen_.end(), expert); }
  int num_rows() const { return x_.tensor().rows; }

  // The same rows of x with codes, from here on.
  void CodeX(ScaleFormat format) {
    coded_x_ = std::make_unique<DeviceActivation>(backend_, num_rows(), sizes_.hidden, format);
    FillWith(backend_, rows_, *coded_x_);
    EXPECT_TRUE(SameBytes(coded_x_->values().Get(), rows_));
  }

  Rows Mix(int first_row, int rows) {
    const auto first = static_cast<size_t>(first_row * sizes_.experts_per_token);
    const auto count = static_cast<size_t>(rows * sizes_.experts_per_token);
    const DeviceValues<int32_t> chosen(backend_, std::span(chosen_).subspan(first, count));
    const DeviceValues<float> weights(backend_, std::span(weights_).subspan(first, count));
    const DeviceRows out(backend_, rows, sizes_.hidden);
    const Routing routing{chosen.get(), weights.get(), rows, sizes_.experts_per_token};
    const Activation x = coded_x_ == nullptr ? x_.Part(first_row, rows) : coded_x_->Part(first_row, rows);
    backend_.ops->MixExperts(x, routing, *packed_, out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    return out.Get();
  }
  Rows MixAll() { return Mix(0, num_rows()); }

  reference::Vector Reference(int row) const {
    std::vector<reference::WeightedExpert> chosen;
    for (int i = row * sizes_.experts_per_token; i < (row + 1) * sizes_.experts_per_token; ++i) {
      const auto at = static_cast<size_t>(i);
      chosen.push_back({&reference_[static_cast<size_t>(chosen_[at])], static_cast<double>(weights_[at])});
    }
    if (sizes_.shared_width > 0) chosen.push_back({&reference_.back(), 1.0});
    const reference::Vector x = ToDouble(rows_[static_cast<size_t>(row)]);
    if (activations_ == ActivationFormat::kF32) return reference::MixExperts(chosen, x);
    const ScaleFormat scales = coded_x_ == nullptr ? ScaleFormat::kF32 : coded_x_->activation().scale_format;
    reference::Vector out(x.size(), 0.0);
    for (const reference::WeightedExpert& choice : chosen) {
      const auto expert = static_cast<size_t>(choice.expert - reference_.data());
      const reference::Vector y = reference::ApplyRounded(*choice.expert, forms_[expert], x, scales);
      for (size_t i = 0; i < out.size(); ++i) out[i] += choice.weight * y[i];
    }
    return out;
  }

 private:
  struct Stored {
    StoredMatrix gate, up, down;
  };
  void Add(int width) {
    stored_.push_back({Next(width, sizes_.hidden), Next(width, sizes_.hidden), Next(sizes_.hidden, width)});
    const Stored& expert = stored_.back();
    reference_.push_back({expert.gate.Reference(), expert.up.Reference(), expert.down.Reference()});
    forms_.push_back({.gate = InputFormOf(expert.gate.Source(), activations_),
                      .up = InputFormOf(expert.up.Source(), activations_),
                      .down = InputFormOf(expert.down.Source(), activations_)});
  }
  StoredMatrix Next(int outputs, int inputs) {
    return StoredMatrix::Random(dtypes_[next_dtype_++ % dtypes_.size()], outputs, inputs, random_);
  }

  Sizes sizes_;
  std::vector<DType> dtypes_;
  size_t next_dtype_ = 0;
  ActivationFormat activations_;
  std::mt19937 random_;
  Backend backend_;
  DeviceRows x_;
  Rows rows_ = x_.Get();
  std::vector<Stored> stored_;  // the shared expert is the last
  std::vector<reference::Expert> reference_;
  std::vector<reference::ExpertInputForms> forms_;  // what the experts' matrices read
  std::unique_ptr<DeviceActivation> coded_x_;       // null: x has none
  std::unique_ptr<const Experts> packed_;
  std::vector<int32_t> chosen_;
  std::vector<float> weights_;
};

constexpr Sizes kOdd{.hidden = 130, .width = 200, .shared_width = 77, .num_experts = 8, .experts_per_token = 3};
constexpr Sizes kNoShared{.hidden = 64, .width = 300, .num_experts = 5, .experts_per_token = 2};
constexpr Sizes kMany{.hidden = 40, .width = 24, .shared_width = 48, .num_experts = 70, .experts_per_token = 6};
constexpr Sizes kFew{.hidden = 40, .width = 24, .shared_width = 24, .num_experts = 4, .experts_per_token = 1};

// Compares every `step`-th row: the double reference is slow.
void ExpectPaper(ExpertsLayer& layer, int step = 1) {
  const Rows got = layer.MixAll();
  for (int r = 0; r < layer.num_rows(); r += step) {
    EXPECT_LT(RelativeError(got[static_cast<size_t>(r)], layer.Reference(r)), 2 * TestTraits().linear_error)
        << "row " << r;
  }
}

TEST(MixExperts, FollowsThePaper) {
  for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
    ExpertsLayer layer(kOdd, {dtype}, 25, 25);
    ExpectPaper(layer);
  }
}

TEST(MixExperts, FollowsThePaperWithoutASharedExpert) {
  ExpertsLayer layer(kNoShared, {DType::kE4M3}, 9, 26);
  ExpectPaper(layer);
}

TEST(MixExperts, FollowsThePaperWithManyExperts) {
  ExpertsLayer layer(kMany, {DType::kBf16}, 20, 27);
  ExpectPaper(layer);
}

TEST(MixExperts, MatricesMayDifferInFormat) {
  ExpertsLayer by_role(kOdd, {DType::kE4M3, DType::kBf16, DType::kF32}, 9, 22);
  ExpectPaper(by_role);
  ExpertsLayer by_expert(kOdd, {DType::kE4M3, DType::kBf16, DType::kF32, DType::kBf16}, 9, 23);
  ExpectPaper(by_expert);
}

TEST(MixExperts, OneExpertMayTakeAllRows) {
  ExpertsLayer layer(kFew, {DType::kE4M3}, 230, 23);
  layer.ChooseEverywhere(2);
  ExpectPaper(layer, 13);
  ExpertsLayer repeated(kMany, {DType::kE4M3}, 20, 24);  // a row's choices may even be the same expert
  repeated.ChooseEverywhere(69);
  ExpectPaper(repeated, 7);
}

TEST(MixExperts, MoreRowsThanOnePassHolds) {
  ExpertsLayer layer(kFew, {DType::kE4M3}, 1030, 28);
  ExpectPaper(layer, 51);
}

TEST(MixExperts, ARowAloneEqualsTheRowInCompany) {
  for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
    ExpertsLayer layer(kOdd, {dtype}, 32, 24);
    const Rows together = layer.MixAll();
    for (const int r : {0, 1, 13, 31}) EXPECT_TRUE(SameBytes(layer.Mix(r, 1)[0], together[static_cast<size_t>(r)]));
    EXPECT_TRUE(SameBytes(layer.Mix(8, 9), Rows(together.begin() + 8, together.begin() + 17)));
  }
}

// A hidden value between two codes, or two bf16 values, may fall either way, which moves its row a little; very few lie
// so close.
void ExpectPaperOfRounded(ExpertsLayer& layer, int step = 1) {
  const Rows got = layer.MixAll();
  int compared = 0, otherwise = 0;
  for (int r = 0; r < layer.num_rows(); r += step, ++compared) {
    const double error = RelativeError(got[static_cast<size_t>(r)], layer.Reference(r));
    EXPECT_LT(error, 2e-2) << "row " << r;
    if (error > 2 * TestTraits().linear_error) ++otherwise;
  }
  EXPECT_LE(10 * otherwise, compared) << "rows with another code";
}

void ExpectPaperOfCodes(ExpertsLayer& layer, ScaleFormat format, int step = 1) {
  layer.CodeX(format);
  ExpectPaperOfRounded(layer, step);
}

TEST(MixExperts, ReadBf16WhereActivationsAre) {
  if (!ComputesWith(MakeUnreservedTestBackend(), ActivationFormat::kBf16)) GTEST_SKIP();
  for (const std::vector<DType>& dtypes :
       {std::vector{DType::kE4M3}, std::vector{DType::kBf16}, std::vector{DType::kE4M3, DType::kBf16, DType::kF32}}) {
    ExpertsLayer layer(kOdd, dtypes, 25, 38, ActivationFormat::kBf16);
    ExpectPaperOfRounded(layer);
  }
}

TEST(MixExpertsWithCodes, MultipliesCodesWithCodes) {
  ExpertsLayer odd(kOdd, {DType::kE4M3}, 25, 31, ActivationFormat::kE4M3);
  ExpectPaperOfCodes(odd, ScaleFormat::kF32);
  ExpertsLayer no_shared(kNoShared, {DType::kE4M3}, 9, 32, ActivationFormat::kE4M3);
  ExpectPaperOfCodes(no_shared, ScaleFormat::kUe8m0);
}

TEST(MixExpertsWithCodes, AreForFp8MatricesOnly) {
  for (const DType other : {DType::kBf16, DType::kF32}) {
    ExpertsLayer values(kOdd, {other}, 5, 33, ActivationFormat::kE4M3);
    const Rows want = values.MixAll();
    values.CodeX(ScaleFormat::kF32);
    EXPECT_TRUE(SameBytes(values.MixAll(), want));
  }
  ExpertsLayer narrow(kOdd, {DType::kE4M3, DType::kE4M3, DType::kBf16}, 9, 34,
                      ActivationFormat::kE4M3);  // down reads the values
  ExpectPaperOfCodes(narrow, ScaleFormat::kUe8m0);
  ExpertsLayer wide(kOdd, {DType::kBf16, DType::kF32, DType::kE4M3}, 9, 35, ActivationFormat::kE4M3);  // gate and up do
  ExpectPaperOfCodes(wide, ScaleFormat::kF32);
}

TEST(MixExpertsWithCodes, MoreRowsThanOnePassHolds) {
  ExpertsLayer layer(kFew, {DType::kE4M3}, 1030, 36, ActivationFormat::kE4M3);
  ExpectPaperOfCodes(layer, ScaleFormat::kF32, 51);
}

TEST(MixExpertsWithCodes, ARowAloneEqualsTheRowInCompany) {
  ExpertsLayer layer(kOdd, {DType::kE4M3}, 32, 37, ActivationFormat::kE4M3);
  layer.CodeX(ScaleFormat::kUe8m0);
  const Rows together = layer.MixAll();
  for (const int r : {0, 13, 31}) EXPECT_TRUE(SameBytes(layer.Mix(r, 1)[0], together[static_cast<size_t>(r)]));
  EXPECT_TRUE(SameBytes(layer.Mix(8, 9), Rows(together.begin() + 8, together.begin() + 17)));
}

TEST(MixExperts, NoRowsAreFine) {
  ExpertsLayer layer(kFew, {DType::kE4M3}, 1, 29);
  EXPECT_TRUE(layer.Mix(0, 0).empty());
}

}  // namespace
}  // namespace latentd

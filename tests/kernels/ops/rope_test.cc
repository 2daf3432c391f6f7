// RotateQueries and AppendLatent, against the paper in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/ops/tokens.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/attention.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr int kPositions = 10;
constexpr float kEpsilon = 1e-6f;
constexpr RopePairs kBothPairs[] = {RopePairs::kAdjacent, RopePairs::kHalfSplit};

std::vector<float> Slice(const std::vector<float>& values, int begin, int count) {
  return {values.begin() + begin, values.begin() + begin + count};
}

class Rope : public testing::Test {
 protected:
  // Cosines and sines of some angle for each position and pair.
  std::vector<std::vector<float>> RandomAngles(int rope_width) {
    std::uniform_real_distribution<double> uniform(-3.0, 3.0);
    std::vector<std::vector<float>> all;
    for (int p = 0; p < kPositions; ++p) {
      std::vector<float> cosines, sines;
      for (int i = 0; i < rope_width / 2; ++i) {
        const double angle = uniform(random_);
        cosines.push_back(static_cast<float>(std::cos(angle)));
        sines.push_back(static_cast<float>(std::sin(angle)));
      }
      cosines.insert(cosines.end(), sines.begin(), sines.end());
      all.push_back(cosines);
    }
    return all;
  }

  std::mt19937 random_{22};  // fixed: a failure repeats
  Backend backend_ = MakeTestBackend(SmallLimits());
};

reference::Vector RotatedHeads(const std::vector<float>& q, const AttentionShape& shape,
                               const std::vector<float>& angles, RopePairs pairs) {
  reference::Vector all;
  for (int head = 0; head < shape.num_heads; ++head) {
    const int begin = head * shape.query_width();
    const reference::Vector kept = ToDouble(Slice(q, begin, shape.nope_width));
    const reference::Vector turned =
        reference::Rotate(ToDouble(Slice(q, begin + shape.nope_width, shape.rope_width)), angles, pairs);
    all.insert(all.end(), kept.begin(), kept.end());
    all.insert(all.end(), turned.begin(), turned.end());
  }
  return all;
}

TEST_F(Rope, RotateQueriesTurnsTheLastPartOfEachHead) {
  const BatchInputs inputs = TokensAt({5, 0, 9, 9});
  for (const RopePairs pairs : kBothPairs) {
    for (const int rope_width : {2, 6, 16, 64, 96}) {  // up to more pairs than a warp has lanes
      const AttentionShape shape = {.num_heads = 11, .nope_width = 5, .rope_width = rope_width};
      const auto before = RandomRows(4, 11 * shape.query_width(), random_), all_angles = RandomAngles(rope_width);
      const DeviceRows angles(backend_, all_angles), q(backend_, before);
      backend_.ops->RotateQueries(backend_.ops->Upload(inputs, {}), {angles.tensor(), pairs}, shape, q.tensor());
      const auto rotated = q.Get();
      for (size_t token = 0; token < 4; ++token) {
        const auto& of_token = all_angles[static_cast<size_t>(inputs.positions[token])];
        EXPECT_LT(RelativeError(rotated[token], RotatedHeads(before[token], shape, of_token, pairs)), 2e-7);
      }
      EXPECT_TRUE(q.GapsUntouched());
    }
  }
}

// Spec 3.4: width 4, base 1e4, position 3.
TEST_F(Rope, RotationMatchesThePublishedExample) {
  const DeviceRows angles(backend_, {{static_cast<float>(std::cos(3.0)), static_cast<float>(std::cos(0.03)),
                                      static_cast<float>(std::sin(3.0)), static_cast<float>(std::sin(0.03))}});
  const AttentionShape shape = {.num_heads = 1, .nope_width = 0, .rope_width = 4};
  const BatchInputs inputs = TokensAt({0});
  const auto rotated = [&](RopePairs pairs) {
    const DeviceRows x(backend_, {{1, 2, 3, 4}});
    backend_.ops->RotateQueries(backend_.ops->Upload(inputs, {}), {angles.tensor(), pairs}, shape, x.tensor());
    return x.Get()[0];
  };
  const double adjacent[] = {-1.272233, -1.838865, 2.878668, 4.088187};
  const double half_split[] = {-1.413353, 1.879118, -2.828857, 4.058191};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rotated(RopePairs::kAdjacent)[i], adjacent[i], 1e-6);
    EXPECT_NEAR(rotated(RopePairs::kHalfSplit)[i], half_split[i], 1e-6);
  }
}

// A layer of the cache whose every byte is kUnwritten before a test.
class Pages {
 public:
  static constexpr int kBlocks = 3;
  static constexpr uint8_t kUnwritten = 0x77;

  Pages(Backend& backend, int latent_width, int rope_width, int stride)
      : view_{nullptr, backend.ops->latent_dtype(), kBlocks, latent_width, rope_width, stride},
        memory_(backend, std::vector<uint8_t>(kBlocks * kBlockSlots * view_.slot_bytes(), kUnwritten)) {
    view_.values = memory_.get();
  }

  const LatentPages& view() const { return view_; }

  // The values of each slot; empty for one that no byte of was written.
  std::vector<std::vector<float>> Written() const {
    const std::vector<uint8_t> bytes = memory_.Get();
    std::vector<std::vector<float>> slots;
    for (auto slot = bytes.begin(); slot != bytes.end(); slot += static_cast<ptrdiff_t>(view_.slot_bytes())) {
      const auto end = slot + static_cast<ptrdiff_t>(view_.slot_bytes());
      const bool written = std::any_of(slot, end, [](uint8_t byte) { return byte != kUnwritten; });
      slots.push_back(written ? Decode(&*slot) : std::vector<float>());
    }
    return slots;
  }

 private:
  std::vector<float> Decode(const uint8_t* slot) const {
    std::vector<float> values(static_cast<size_t>(view_.slot_stride));
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t half = 0;
      if (view_.dtype == DType::kF32) std::memcpy(&values[i], slot + 4 * i, 4);
      if (view_.dtype == DType::kBf16) {
        std::memcpy(&half, slot + 2 * i, 2);
        values[i] = DecodeBf16(half);
      }
    }
    return values;
  }

  LatentPages view_;
  DeviceValues<uint8_t> memory_;
};

// What a slot holds, before it is rounded to the cache's type: the normed latent, the rotated key, zeros.
reference::Vector ExpectedSlot(const std::vector<float>& kv, const std::vector<float>& weight,
                               const std::vector<float>& angles, RopePairs pairs, const LatentPages& pages) {
  reference::Vector slot = reference::RmsNorm(ToDouble(Slice(kv, 0, pages.latent_width)), weight, double{kEpsilon});
  const reference::Vector key =
      reference::Rotate(ToDouble(Slice(kv, pages.latent_width, pages.rope_width)), angles, pairs);
  slot.insert(slot.end(), key.begin(), key.end());
  slot.resize(static_cast<size_t>(pages.slot_stride), 0.0);
  return slot;
}

// Each value is the nearest of its type, but for the last bits of fp32: a bf16 is at most 2^-8 of itself away.
void ExpectStored(const std::vector<float>& slot, const reference::Vector& expected, DType dtype) {
  ASSERT_EQ(slot.size(), expected.size());
  const double rounding = dtype == DType::kBf16 ? 0x1p-8 : 0.0;
  EXPECT_LT(RelativeError(slot, expected), rounding + TestTraits().elementwise_error);
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < slot.size(); ++i) {
    ASSERT_NEAR(slot[i], expected[i], std::fabs(expected[i]) * rounding + largest * 1e-6) << "value " << i;
  }
}

TEST_F(Rope, AppendLatentNormsRotatesAndPads) {
  const BatchInputs inputs = TokensAt({4, 7, 2, 1}, {130, 0, kNoSlot, 64});
  struct Case {
    int latent_width, rope_width, stride;
  };
  for (const Case& widths : {Case{21, 6, 32}, {64, 16, 80}, {200, 14, 224}, {512, 64, 592}, {640, 96, 736}}) {
    for (const RopePairs pairs : kBothPairs) {
      const Pages pages(backend_, widths.latent_width, widths.rope_width, widths.stride);
      const auto all_angles = RandomAngles(widths.rope_width), weights = RandomRows(1, widths.latent_width, random_);
      const auto rows = RandomRows(4, widths.latent_width + widths.rope_width, random_);
      const DeviceRows angles(backend_, all_angles), weight(backend_, weights), kv(backend_, rows);
      backend_.ops->AppendLatent(kv.tensor(), weight.tensor().values, kEpsilon, backend_.ops->Upload(inputs, {}),
                                 {angles.tensor(), pairs}, pages.view());
      std::vector<std::vector<float>> slots = pages.Written();
      for (size_t token = 0; token < 4; ++token) {
        if (inputs.slots[token] == kNoSlot) continue;
        std::vector<float>& slot = slots[static_cast<size_t>(inputs.slots[token])];
        const auto& of_token = all_angles[static_cast<size_t>(inputs.positions[token])];
        ExpectStored(slot, ExpectedSlot(rows[token], weights[0], of_token, pairs, pages.view()), pages.view().dtype);
        slot.clear();
      }
      for (const std::vector<float>& slot : slots) EXPECT_TRUE(slot.empty()) << "another slot was written";
      EXPECT_TRUE(SameBytes(kv.Get(), rows)) << "the input was written";
    }
  }
}

TEST_F(Rope, ATokenAloneEqualsTheTokenInCompany) {
  constexpr int kLatent = 77, kRope = 18, kStride = 96;
  const AttentionShape shape = {.num_heads = 3, .nope_width = 7, .rope_width = kRope};
  const auto queries = RandomRows(5, 3 * shape.query_width(), random_);
  const DeviceRows angles(backend_, RandomAngles(kRope)), weight(backend_, RandomRows(1, kLatent, random_));
  const DeviceRows kv(backend_, RandomRows(5, kLatent + kRope, random_));
  const RopeTable rope{angles.tensor(), RopePairs::kAdjacent};
  const BatchInputs together = TokensAt({3, 4, 5, 6, 7}, {0, 1, 70, 3, 4}), single = TokensAt({5}, {70});

  const DeviceRows company(backend_, queries), alone(backend_, {queries[2]});
  const Pages company_pages(backend_, kLatent, kRope, kStride), alone_pages(backend_, kLatent, kRope, kStride);
  Batch batch = backend_.ops->Upload(together, {});
  backend_.ops->RotateQueries(batch, rope, shape, company.tensor());
  backend_.ops->AppendLatent(kv.tensor(), weight.tensor().values, kEpsilon, batch, rope, company_pages.view());
  backend_.device->Synchronize();
  batch = backend_.ops->Upload(single, {});
  backend_.ops->RotateQueries(batch, rope, shape, alone.tensor());
  backend_.ops->AppendLatent(kv.Part(2, 1), weight.tensor().values, kEpsilon, batch, rope, alone_pages.view());
  EXPECT_TRUE(SameBytes(company.Get()[2], alone.Get()[0]));
  EXPECT_TRUE(SameBytes(company_pages.Written()[70], alone_pages.Written()[70]));
}

}  // namespace
}  // namespace latentd

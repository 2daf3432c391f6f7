// RotateQueries and AppendLatent, against the paper in double.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/ops/tokens.h"
#include "tests/kernels/stored_latent.h"
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

// docs/spec/deepseek.md 3.4: width 4, base 1e4, position 3.
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

// A layer of a cache whose every byte is kUnwritten before a test.
class Pages {
 public:
  static constexpr int kBlocks = 3;
  static constexpr uint8_t kUnwritten = 0x77;

  Pages(Backend& backend, LatentFormat format, const AttentionShape& shape)
      : view_{nullptr, format, kBlocks, shape.latent_width, shape.rope_width},
        memory_(backend, std::vector<uint8_t>(kBlocks * view_.block_bytes(), kUnwritten)) {
    view_.bytes = reinterpret_cast<std::byte*>(memory_.get());
  }

  const LatentPages& view() const { return view_; }

  // The bytes of each slot; empty for one that no byte of was written.
  std::vector<std::vector<std::byte>> Written() const {
    const std::vector<uint8_t> bytes = memory_.Get();
    std::vector<std::vector<std::byte>> slots;
    for (auto slot = bytes.begin(); slot != bytes.end(); slot += static_cast<ptrdiff_t>(view_.slot_bytes())) {
      const auto end = slot + static_cast<ptrdiff_t>(view_.slot_bytes());
      auto& written = slots.emplace_back();
      if (std::all_of(slot, end, [](uint8_t byte) { return byte == kUnwritten; })) continue;
      std::transform(slot, end, std::back_inserter(written), [](uint8_t byte) { return std::byte{byte}; });
    }
    return slots;
  }

 private:
  LatentPages view_;
  DeviceValues<uint8_t> memory_;
};

StepLimits LimitsFor(LatentFormat format, const AttentionShape& shape) {
  StepLimits limits = SmallLimits();
  limits.attention = shape;
  limits.latents = format;
  return limits;
}

// What a slot holds, before it is rounded to the cache's format: the normed latent, the rotated key.
reference::Vector ExpectedKey(const std::vector<float>& kv, const std::vector<float>& weight,
                              const std::vector<float>& angles, RopePairs pairs, const LatentPages& pages) {
  reference::Vector key = reference::RmsNorm(ToDouble(Slice(kv, 0, pages.latent_width)), weight, double{kEpsilon});
  const reference::Vector turned =
      reference::Rotate(ToDouble(Slice(kv, pages.latent_width, pages.rope_width)), angles, pairs);
  key.insert(key.end(), turned.begin(), turned.end());
  return key;
}

// How far a stored value may be from what it stands for: half a step of its format. FP8 has 3 bits behind the first,
// down to 2^-9 of the scale.
double Rounding(const reference::Vector& key, size_t index, const LatentPages& pages) {
  if (pages.format == LatentFormat::kF32) return 0.0;
  if (pages.format == LatentFormat::kBf16 || index >= static_cast<size_t>(pages.latent_width)) {
    return std::fabs(key[index]) * 0x1p-8;
  }
  const double scale = ScaleOf({key.begin(), key.end()}, static_cast<int>(index), pages);
  return std::max(std::fabs(key[index]) * 0x1p-4, scale * 0x1p-10);
}

// Each value is the nearest of its format, but for the last bits of fp32.
void ExpectStored(const std::vector<std::byte>& slot, const reference::Vector& expected, const LatentPages& pages) {
  ASSERT_EQ(slot.size(), pages.slot_bytes());
  const std::vector<float> key = ReadLatent(slot.data(), pages);
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < key.size(); ++i) {
    ASSERT_NEAR(key[i], expected[i], Rounding(expected, i, pages) + largest * 1e-6) << "value " << i;
  }
  const size_t value_bytes = pages.format == LatentFormat::kF32 ? sizeof(float) : sizeof(uint16_t);
  const size_t used_bytes = pages.format == LatentFormat::kFp8 ? slot.size() : key.size() * value_bytes;
  for (size_t i = used_bytes; i < slot.size(); ++i) ASSERT_EQ(slot[i], std::byte{0}) << "padding, byte " << i;
}

TEST_F(Rope, AppendLatentNormsRotatesAndPads) {
  const BatchInputs inputs = TokensAt({4, 7, 2, 1}, {130, 0, kNoSlot, 64});
  for (const LatentFormat format : backend_.ops->latent_formats(ActivationFormat::kF32)) {
    for (const auto& [latent_width, rope_width] : {std::pair(21, 6), {64, 16}, {200, 14}, {512, 64}, {509, 96}}) {
      const AttentionShape shape{
          .num_heads = 1, .nope_width = 4, .rope_width = rope_width, .value_width = 4, .latent_width = latent_width};
      Backend backend = MakeTestBackend(LimitsFor(format, shape));
      for (const RopePairs pairs : kBothPairs) {
        const Pages pages(backend, format, shape);
        const auto all_angles = RandomAngles(rope_width), weights = RandomRows(1, latent_width, random_);
        const auto rows = RandomRows(4, latent_width + rope_width, random_);
        const DeviceRows angles(backend, all_angles), weight(backend, weights), kv(backend, rows);
        backend.ops->AppendLatent(kv.tensor(), weight.tensor().values, kEpsilon, backend.ops->Upload(inputs, {}),
                                  {angles.tensor(), pairs}, pages.view());
        std::vector<std::vector<std::byte>> slots = pages.Written();
        for (size_t token = 0; token < 4; ++token) {
          if (inputs.slots[token] == kNoSlot) continue;
          std::vector<std::byte>& slot = slots[static_cast<size_t>(inputs.slots[token])];
          const auto& of_token = all_angles[static_cast<size_t>(inputs.positions[token])];
          ExpectStored(slot, ExpectedKey(rows[token], weights[0], of_token, pairs, pages.view()), pages.view());
          slot.clear();
        }
        for (const std::vector<std::byte>& slot : slots) EXPECT_TRUE(slot.empty()) << "another slot was written";
        EXPECT_TRUE(SameBytes(kv.Get(), rows)) << "the input was written";
      }
    }
  }
}

// The values, filled up to `count` of them.
std::vector<float> EdgeGroup(std::vector<float> values, int count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 0.1f);
  while (values.size() < static_cast<size_t>(count)) values.push_back(normal(random));
  return values;
}

// The norm of ones, and a turn by nothing, leave the weights and the key as they are.
TEST_F(Rope, AppendLatentRoundsByDefinition) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> edges = {
      {448.0f, 17.0f, 19.0f, -17.0f, 0x1p-10f, 0x1.8p-9f, -0x1.8p-9f, 0x1p-7f, 0x1.fcp-7f, -0.0f, 1.0625f, 1.1875f},
      {std::nextafter(448.0f, 449.0f)},          // the next power of two
      {std::nextafter(0x1.cp-3f, 1.0f), 0.01f},  // just above 448 * 2^-11
      {-0x1.cp-3f, 0.01f},
      std::vector<float>(128, 0.0f),
      std::vector<float>(128, 1e-7f),  // below the smallest peak
      {0x1p100f, 1.0f},
      {kInfinity},
      {std::numeric_limits<float>::quiet_NaN(), -2.0f},
  };
  constexpr size_t kNotFinite = 2;  // the last edges, which the other formats keep as they come
  const AttentionShape shape{
      .num_heads = 1, .nope_width = 4, .rope_width = 6, .value_width = 4, .latent_width = 128 + 37};
  const std::vector<float> key_part = {1.0f, 0x1.01p0f, -0x1.03p0f, 0x1.0101p0f, 3e38f, 1e-39f};
  for (const LatentFormat format : backend_.ops->latent_formats(ActivationFormat::kF32)) {
    Backend backend = MakeTestBackend(LimitsFor(format, shape));
    const size_t num_edges = format == LatentFormat::kFp8 ? edges.size() : edges.size() - kNotFinite;
    for (size_t i = 0; i < num_edges; ++i) {
      std::vector<float> latent = EdgeGroup(edges[i], kCodeGroup, random_);
      const auto behind = EdgeGroup(Slice(edges[(i + 1) % num_edges], 0, 1), 37, random_);
      latent.insert(latent.end(), behind.begin(), behind.end());
      std::vector<float> ones(latent.size(), 1.0f), key = latent;
      ones.insert(ones.end(), key_part.begin(), key_part.end());
      key.insert(key.end(), key_part.begin(), key_part.end());
      const DeviceRows angles(backend, {{1, 1, 1, 0, 0, 0}}), weight(backend, {latent}), kv(backend, {ones});
      const Pages pages(backend, format, shape);
      backend.ops->AppendLatent(kv.tensor(), weight.tensor().values, 0.0f, backend.ops->Upload(TokensAt({0}, {1}), {}),
                                {angles.tensor(), RopePairs::kAdjacent}, pages.view());
      EXPECT_EQ(pages.Written()[1], StoreLatent(key, pages.view())) << NameOf(format) << ", edge " << i;
    }
  }
}

TEST_F(Rope, ATokenAloneEqualsTheTokenInCompany) {
  constexpr int kLatent = 77, kRope = 18;
  const AttentionShape shape = {
      .num_heads = 3, .nope_width = 7, .rope_width = kRope, .value_width = 4, .latent_width = kLatent};
  for (const LatentFormat format : backend_.ops->latent_formats(ActivationFormat::kF32)) {
    Backend backend = MakeTestBackend(LimitsFor(format, shape));
    const auto queries = RandomRows(5, 3 * shape.query_width(), random_);
    const DeviceRows angles(backend, RandomAngles(kRope)), weight(backend, RandomRows(1, kLatent, random_));
    const DeviceRows kv(backend, RandomRows(5, kLatent + kRope, random_));
    const RopeTable rope{angles.tensor(), RopePairs::kAdjacent};
    const BatchInputs together = TokensAt({3, 4, 5, 6, 7}, {0, 1, 70, 3, 4}), single = TokensAt({5}, {70});

    const DeviceRows company(backend, queries), alone(backend, {queries[2]});
    const Pages company_pages(backend, format, shape), alone_pages(backend, format, shape);
    Batch batch = backend.ops->Upload(together, {});
    backend.ops->RotateQueries(batch, rope, shape, company.tensor());
    backend.ops->AppendLatent(kv.tensor(), weight.tensor().values, kEpsilon, batch, rope, company_pages.view());
    backend.device->Synchronize();
    batch = backend.ops->Upload(single, {});
    backend.ops->RotateQueries(batch, rope, shape, alone.tensor());
    backend.ops->AppendLatent(kv.Part(2, 1), weight.tensor().values, kEpsilon, batch, rope, alone_pages.view());
    EXPECT_TRUE(SameBytes(company.Get()[2], alone.Get()[0]));
    EXPECT_EQ(company_pages.Written()[70], alone_pages.Written()[70]) << NameOf(format);
  }
}

}  // namespace
}  // namespace latentd

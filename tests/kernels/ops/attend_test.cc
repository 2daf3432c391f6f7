// AttendLatent against the expanded form in double, and its bits against those of other steps with the same tokens.
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/attention_shapes.h"
#include "tests/kernels/ops/op_backend.h"

namespace latentd {
namespace {

constexpr AttentionShape kWide = {
    .num_heads = 5, .nope_width = 150, .rope_width = 40, .value_width = 140, .latent_width = 200};
// Published: DeepSeek-V2-Lite; GLM-4.7-Flash, whose heads are not 128 wide.
constexpr AttentionShape kV2Lite = {
    .num_heads = 16, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};
constexpr AttentionShape kGlmFlash = {
    .num_heads = 20, .nope_width = 192, .rope_width = 64, .value_width = 256, .latent_width = 512};

class AttendOp : public testing::Test {
 protected:
  AttentionCase MakeCase(const AttentionShape& shape, DType weights, std::vector<int> lengths) {
    return {shape, weights, std::move(lengths), random_, formats_.front()};
  }

  std::mt19937 random_{77};  // fixed: a failure repeats
  const Backend backend_ = MakeTestBackend(SmallLimits());
  const std::span<const LatentFormat> formats_ = backend_.ops->latent_formats(ActivationFormat::kF32);
};

// The last tokens of all sequences, two of each, against the reference.
void ExpectExpandedForm(const AttentionCase& c, std::vector<int> first_keys = {}) {
  first_keys.resize(c.lengths.size());
  Backend backend = MakeTestBackend(c.Limits());
  const auto outputs = c.Run(backend, AttentionCase::From(first_keys, c.Tails(2)));
  for (int s = 0; s < static_cast<int>(c.lengths.size()); ++s) {
    const int length = c.lengths[static_cast<size_t>(s)], first_key = first_keys[static_cast<size_t>(s)];
    for (int token = std::max(0, length - 2); token < length; ++token) {
      const auto& out = outputs[static_cast<size_t>(s)][static_cast<size_t>(token)];
      EXPECT_LT(RelativeError(out, c.Reference(s, token, first_key)), TestTraits().attention_error)
          << "sequence " << s << " token " << token << " from " << first_key << ", " << c.shape.num_heads << " heads, "
          << NameOf(c.latents);
    }
  }
}

TEST_F(AttendOp, IsTheExpandedFormInDouble) {
  // One token, a block but one, a block, one more, several and a partial one, more than a range, more than two.
  const std::vector<int> lengths = {1, 63, 64, 65, 200, 513, 1090};
  for (const AttentionShape& shape : {kTinyTales, kOdd, kManyHeads}) {
    for (const DType weights : {DType::kF32, DType::kBf16, DType::kE4M3}) {
      ExpectExpandedForm(MakeCase(shape, weights, lengths));
    }
  }
  ExpectExpandedForm(MakeCase(kWide, DType::kF32, {150, 65}));
}

TEST_F(AttendOp, PublishedShapesAreTheExpandedForm) {
  ExpectExpandedForm(MakeCase(kV2Lite, DType::kBf16, {130}));
  ExpectExpandedForm(MakeCase(kGlmFlash, DType::kE4M3, {130}));
}

TEST_F(AttendOp, RandomShapesAreTheExpandedForm) {
  const auto upto = [&](int limit) { return 1 + static_cast<int>(random_() % static_cast<unsigned>(limit)); };
  for (int n = 0; n < 8; ++n) {
    ExpectExpandedForm(MakeCase({.num_heads = upto(20),
                                 .nope_width = upto(70),
                                 .rope_width = 2 * upto(20),
                                 .value_width = upto(140),
                                 .latent_width = upto(150)},
                                DType::kF32, {upto(150), upto(80), 1}));
  }
}

TEST_F(AttendOp, BitsDependOnNeitherCompanyNorBlocksNorPadding) {
  for (const AttentionShape& shape : {kTinyTales, kOdd, kManyHeads}) {
    const AttentionCase c = MakeCase(shape, DType::kE4M3, {1, 20, 64, 530, 70});
    Backend backend = MakeTestBackend(c.Limits());
    const auto expected = c.Run(backend, c.Tails(10));
    EXPECT_TRUE(SameOutputs(c.Run(backend, c.Tails(1)), expected)) << "last tokens alone";
    EXPECT_TRUE(SameOutputs(c.Run(backend, {{{3, 521, 4}}, {{1, 12, 8}, {4, 65, 5}}, {{2, 63, 1}}}), expected));
    EXPECT_TRUE(SameOutputs(c.Run(backend, c.Tails(10), {.block_seed = 5, .padding_rows = 3}), expected));
  }
}

TEST_F(AttendOp, AnyChunkingIsTheWhole) {
  const AttentionCase c = MakeCase(kTinyTales, DType::kF32, {70});
  Backend backend = MakeTestBackend(c.Limits());
  const auto expected = c.Run(backend, c.Whole());
  for (const int size : {7, 33, 64, 69}) {
    EXPECT_TRUE(SameOutputs(c.Run(backend, c.InChunksOf(size), {.block_seed = 3}), expected)) << "chunks of " << size;
  }
}

// The other formats than the backend's own; their pages are the same to the rest of the kernels.
TEST_F(AttendOp, OtherFormatsAreTheExpandedFormOfWhatTheyHold) {
  for (const LatentFormat format : formats_.subspan(1)) {
    for (const AttentionShape& shape : {kTinyTales, kOdd, kManyHeads}) {
      ExpectExpandedForm({shape, DType::kBf16, {1, 63, 64, 65, 530}, random_, format});
    }
    ExpectExpandedForm({kWide, DType::kF32, {70}, random_, format});
    ExpectExpandedForm({kV2Lite, DType::kE4M3, {70}, random_, format});
  }
}

TEST_F(AttendOp, OtherFormatsKeepTheirBitsInAnyStep) {
  for (const LatentFormat format : formats_.subspan(1)) {
    for (const AttentionShape& shape : {kTinyTales, kOdd}) {
      const AttentionCase c(shape, DType::kE4M3, {20, 64, 70}, random_, format);
      Backend backend = MakeTestBackend(c.Limits());
      const auto expected = c.Run(backend, c.Whole());
      EXPECT_TRUE(SameOutputs(c.Run(backend, c.InChunksOf(33), {.block_seed = 3}), expected)) << NameOf(format);
      EXPECT_TRUE(SameOutputs(c.Run(backend, c.Tails(1), {.block_seed = 5, .padding_rows = 3}), expected));
    }
  }
}

TEST_F(AttendOp, CopiedLatentsAreReadAsTheirSource) {
  for (const LatentFormat format : formats_) {
    for (const AttentionShape& shape : {kTinyTales, kOdd}) {
      const AttentionCase c(shape, DType::kE4M3, {1, 20, 64, 70}, random_, format);
      Backend backend = MakeTestBackend(c.Limits());
      const auto expected = c.Run(backend, c.Whole());
      EXPECT_TRUE(SameOutputs(c.Run(backend, c.Tails(3), {.block_seed = 2, .is_copied = true}), expected))
          << NameOf(format);
    }
  }
}

// What lies before a row's first key is NaN here.
TEST_F(AttendOp, FromItsFirstKeyIsTheExpandedForm) {
  for (const LatentFormat format : formats_) {
    for (const AttentionShape& shape : {kTinyTales, kOdd}) {
      ExpectExpandedForm({shape, DType::kBf16, kCutLengths, random_, format}, kFirstKeys);
    }
  }
}

TEST_F(AttendOp, FromItsFirstKeyBitsAreTheSameInAnyStep) {
  const std::vector<int> first_keys = {0, 1, 40, 70, 514};
  for (const LatentFormat format : formats_) {
    const AttentionCase c(kOdd, DType::kE4M3, {20, 40, 70, 135, 560}, random_, format);
    Backend backend = MakeTestBackend(c.Limits());
    const auto run = [&](std::vector<std::vector<Chunk>> steps, Placement placement = {}) {
      return c.Run(backend, AttentionCase::From(first_keys, std::move(steps)), placement);
    };
    const auto expected = run(c.Tails(20));
    EXPECT_TRUE(SameOutputs(run(c.Tails(1)), expected)) << "last tokens alone";
    EXPECT_TRUE(SameOutputs(run({{{4, 540, 7}}, {{2, 50, 9}, {4, 547, 13}}, {{3, 115, 20}}}), expected));
    EXPECT_TRUE(SameOutputs(run(c.Tails(3), {.block_seed = 5, .padding_rows = 3, .is_copied = true}), expected));
  }
}

// Keys before the first may be there for other rows of the step.
TEST_F(AttendOp, BytesBeforeTheFirstKeyDoNotMatter) {
  for (const LatentFormat format : formats_) {
    const AttentionCase c(kOdd, DType::kBf16, {150}, random_, format);
    Backend backend = MakeTestBackend(c.Limits());
    for (const int first_key : {1, 33, 64, 100}) {
      const auto with_nan = c.Run(backend, {{{0, 120, 2, first_key}}});
      const auto with_latents = c.Run(backend, {{{0, 110, 1, 0}, {0, 120, 2, first_key}}});
      EXPECT_TRUE(SameOutputs(with_nan, with_latents)) << first_key;
      EXPECT_FALSE(SameOutputs(c.Run(backend, {{{0, 120, 2, first_key - 1}}}), with_latents)) << first_key;
    }
  }
}

// More tokens than any backend works on at once.
TEST_F(AttendOp, LongStepsAreTheirTokens) {
  const AttentionCase c = MakeCase(kTinyTales, DType::kBf16, {300, 20});
  Backend backend = MakeTestBackend(c.Limits());
  const auto together = c.Run(backend, c.Whole());
  const auto alone = c.Run(backend, {{{0, 127, 1}}, {{0, 128, 1}}, {{0, 255, 2}}, {{0, 299, 1}}, {{1, 19, 1}}});
  EXPECT_TRUE(SameOutputs(alone, together));
}

}  // namespace
}  // namespace latentd

// The layer that predicts further tokens: that its bits depend on nothing but its own inputs, that each of its tensors
// moves its logits, and that nothing of it moves the model's own (docs/spec/deepseek.md P16).
#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/model.h"
#include "kernels/backend.h"
#include "tests/support/model_session.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"
#include "tests/support/tiny_variants.h"

namespace latentd {
namespace {

constexpr int kTokens = 90;        // into the second block
constexpr int kFirstPosition = 1;  // position 0 is behind no hidden state

std::vector<int32_t> RandomIds(int count, int vocab_size) {
  std::mt19937 random(7);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(vocab_size));
  return ids;
}

std::vector<int> All(size_t count) {
  const std::vector<int32_t> positions = AllPositions(count);
  return {positions.begin(), positions.end()};
}

ModelSession::Options Drafting(ModelSession::Options options = {}) {
  options.mtp = MtpUse::kDraft;
  options.max_tokens = 128;
  options.max_logit_rows = 128;
  options.num_blocks = 32;
  return options;
}

struct Logits {
  LogitRows main, drafts;
};

// All tokens' logits, the layer behind each chunk; the last token is known to it alone.
Logits LogitsOf(ModelSession& session, std::span<const int32_t> ids, int chunk_tokens) {
  Logits logits;
  const int sequence = session.AddSequence();
  const size_t end = ids.size() - 1;
  for (size_t begin = 0; begin < end; begin += static_cast<size_t>(chunk_tokens)) {
    const size_t count = std::min(end - begin, static_cast<size_t>(chunk_tokens));
    for (auto& row : session.Step({{sequence, ids.subspan(begin, count), All(count)}})) logits.main.push_back(row);
    const ModelSession::DraftRow behind = {.sequence = sequence,
                                           .position = static_cast<int>(begin) + kFirstPosition,
                                           .ids = ids.subspan(begin + 1, count),
                                           .wanted = All(count)};
    for (auto& row : session.Draft({behind})) logits.drafts.push_back(row);
  }
  return logits;
}

Logits LogitsOf(const std::filesystem::path& directory, const ModelSession::Options& options, int chunk_tokens = 1000) {
  ModelSession session(directory, options);
  return LogitsOf(session, RandomIds(kTokens, session.config().vocab_size), chunk_tokens);
}

struct Format {
  ActivationFormat activations;
  LatentFormat latents;
};

class DraftFormats : public testing::TestWithParam<Format> {
 protected:
  static ModelSession::Options Options(int num_threads, uint64_t block_seed) {
    return Drafting({.num_threads = num_threads,
                     .latents = GetParam().latents,
                     .activations = GetParam().activations,
                     .block_seed = block_seed});
  }
};

TEST_P(DraftFormats, ChunksBlocksAndThreadsChangeNoBit) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({.projections = DType::kE4M3}, directory.path());
  const Logits expected = LogitsOf(directory.path(), Options(1, 0));
  ASSERT_EQ(expected.drafts.size(), size_t{kTokens - 1});
  for (const int chunk : {1, 7, 64}) {
    EXPECT_TRUE(SameBytes(LogitsOf(directory.path(), Options(1, 0), chunk).drafts, expected.drafts)) << chunk;
  }
  EXPECT_TRUE(SameBytes(LogitsOf(directory.path(), Options(3, 5), 33).drafts, expected.drafts));
}

TEST_P(DraftFormats, TheModelsOwnLogitsAreAsWithoutTheLayer) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({.projections = DType::kE4M3}, directory.path());
  ModelSession::Options without = Options(2, 0);
  without.mtp = MtpUse::kNone;
  ModelSession session(directory.path(), without);
  const std::vector<int32_t> ids = RandomIds(kTokens, session.config().vocab_size);
  const LogitRows expected = session.Run(std::span(ids).first(kTokens - 1), AllPositions(kTokens - 1));
  EXPECT_TRUE(SameBytes(LogitsOf(directory.path(), Options(2, 0), 40).main, expected));
}

INSTANTIATE_TEST_SUITE_P(Each, DraftFormats,
                         testing::Values(Format{ActivationFormat::kF32, LatentFormat::kF32},
                                         Format{ActivationFormat::kF32, LatentFormat::kBf16},
                                         Format{ActivationFormat::kF32, LatentFormat::kFp8},
                                         Format{ActivationFormat::kBf16, LatentFormat::kBf16},
                                         Format{ActivationFormat::kE4M3, LatentFormat::kFp8}),
                         [](const auto& test) {
                           return std::string(NameOf(test.param.activations)) + "_" +
                                  std::string(NameOf(test.param.latents));
                         });

std::vector<TinyVariant> VariantsWithTheLayer() {
  std::vector<TinyVariant> variants = TinyVariants();
  std::erase_if(variants, [](const TinyVariant& variant) { return variant.checkpoint.num_mtp_layers == 0; });
  return variants;
}

class DraftVariants : public testing::TestWithParam<TinyVariant> {};

TEST_P(DraftVariants, AreComputedInChunksAsInOne) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint(GetParam().checkpoint, directory.path());
  EXPECT_TRUE(
      SameBytes(LogitsOf(directory.path(), Drafting(), 13).drafts, LogitsOf(directory.path(), Drafting()).drafts));
}

INSTANTIATE_TEST_SUITE_P(All, DraftVariants, testing::ValuesIn(VariantsWithTheLayer()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace latentd

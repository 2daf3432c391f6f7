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

constexpr char kLayer[] = "model.layers.3.";  // of the tiny checkpoint
constexpr int kTokens = 90;                   // into the second block
constexpr int kFirstPosition = 1;             // position 0 is behind no hidden state

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
Logits LogitsIn(ModelSession& session, std::span<const int32_t> ids, int chunk_tokens) {
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
  return LogitsIn(session, RandomIds(kTokens, session.config().vocab_size), chunk_tokens);
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

// The tiny checkpoint, some tensors of which a test changes.
class DraftTest : public testing::Test {
 protected:
  Logits LogitsOf(const CheckpointDraft& draft) {
    const TemporaryDirectory directory;
    draft.Write(directory.path());
    return latentd::LogitsOf(directory.path(), Drafting());
  }

  CheckpointDraft draft_ = DraftTinyCheckpoint({});
};

void Negate(StoredTensor& tensor) {
  const size_t value_bytes = tensor.dtype == "F32" ? 4 : 2;
  for (size_t i = value_bytes - 1; i < tensor.bytes.size(); i += value_bytes) tensor.bytes[i] ^= '\x80';
}

TEST_F(DraftTest, EachTensorMovesTheDraftsAndNoneTheModelsOwnLogits) {
  const Logits expected = LogitsOf(draft_);
  int num_tensors = 0;
  for (size_t i = 0; i < draft_.tensors.size(); ++i) {
    if (!draft_.tensors[i].name.starts_with(kLayer)) continue;
    CheckpointDraft changed = draft_;
    Negate(changed.tensors[i]);
    const Logits found = LogitsOf(changed);
    EXPECT_TRUE(SameBytes(found.main, expected.main)) << changed.tensors[i].name;
    EXPECT_FALSE(SameBytes(found.drafts, expected.drafts)) << changed.tensors[i].name << " has no effect";
    ++num_tensors;
  }
  EXPECT_EQ(num_tensors, 44) << "attention 7, norms 2, router 2, experts 24 + 3, its own 6";
}

TEST_F(DraftTest, CopiesOfEmbeddingAndHeadAreTheMainOnes) {
  CheckpointDraft copied = draft_, without = draft_;
  for (const auto& [copy, original] : {std::pair("embed_tokens.weight", "model.embed_tokens.weight"),
                                       std::pair("shared_head.head.weight", "lm_head.weight")}) {
    copied.Find(std::string(kLayer) + copy).bytes = copied.Find(original).bytes;
    without.Remove(std::string(kLayer) + copy);
  }
  EXPECT_TRUE(SameBytes(LogitsOf(copied).drafts, LogitsOf(without).drafts));
}

TEST_F(DraftTest, WhatWasDraftedLeavesNoTrace) {
  const TemporaryDirectory directory;
  draft_.Write(directory.path());
  ModelSession session(directory.path(), Drafting());
  const std::vector<int32_t> ids = RandomIds(kTokens, session.config().vocab_size), drafts = {5, 6, 7};
  const Logits expected = LogitsIn(session, ids, 60);
  const int sequence = session.AddSequence();
  session.Step({{sequence, std::span(ids).first(60), {}}});
  session.Draft({{.sequence = sequence, .ids = std::span(ids).subspan(1, 60), .wanted = {59}}});
  for (int i = 0; i < 3; ++i) {
    const std::span<const int32_t> draft = std::span(drafts).subspan(static_cast<size_t>(i), 1);
    session.Draft({{.sequence = sequence, .position = 61 + i, .ids = draft, .wanted = {0}}});
  }
  session.Step({{sequence, std::span(ids).subspan(60, 29), {}}});
  const LogitRows rest =
      session.Draft({{.sequence = sequence, .position = 61, .ids = std::span(ids).subspan(61, 29), .wanted = All(29)}});
  EXPECT_TRUE(SameBytes(rest, LogitRows(expected.drafts.begin() + 60, expected.drafts.end())));
}

// A window that begins later depends on nothing before it, in company, too.
TEST_F(DraftTest, PositionsBeforeTheFirstKeyAreNotThere) {
  const TemporaryDirectory directory;
  draft_.Write(directory.path());
  ModelSession session(directory.path(), Drafting());
  const std::vector<int32_t> ids = RandomIds(kTokens, session.config().vocab_size);
  const auto behind = [&](int sequence) {
    return ModelSession::DraftRow{.sequence = sequence,
                                  .position = 51,
                                  .ids = std::span(ids).subspan(51, 39),
                                  .wanted = All(39),
                                  .first_key = 51};
  };
  const int whole = session.AddSequence(), window = session.AddSequence();
  session.Step({{whole, std::span(ids).first(50), {}}});
  session.Draft({{.sequence = whole, .ids = std::span(ids).subspan(1, 50), .wanted = {}}});
  session.Step({{whole, std::span(ids).subspan(50, 39), {}}});
  const LogitRows expected = session.Draft({behind(whole)});
  session.Step({{window, std::span(ids).first(50), {}}});
  session.Step({{window, std::span(ids).subspan(50, 39), {}}});
  EXPECT_TRUE(SameBytes(session.Draft({behind(window)}), expected));
}

TEST_F(DraftTest, CopiedBlocksHaveItsLatents) {
  const TemporaryDirectory directory;
  draft_.Write(directory.path());
  ModelSession session(directory.path(), Drafting());
  const std::vector<int32_t> ids = RandomIds(kTokens, session.config().vocab_size);
  const Logits expected = LogitsIn(session, ids, 70);
  const int first = session.AddSequence();
  session.Step({{first, std::span(ids).first(70), {}}});
  session.Draft({{.sequence = first, .ids = std::span(ids).subspan(1, 70), .wanted = {}}});
  const int fork = session.Fork(first);
  session.Step({{fork, std::span(ids).subspan(70, 19), {}}});
  const LogitRows rest =
      session.Draft({{.sequence = fork, .position = 71, .ids = std::span(ids).subspan(71, 19), .wanted = All(19)}});
  EXPECT_TRUE(SameBytes(rest, LogitRows(expected.drafts.begin() + 70, expected.drafts.end())));
}

INSTANTIATE_TEST_SUITE_P(All, DraftVariants, testing::ValuesIn(VariantsWithTheLayer()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace latentd

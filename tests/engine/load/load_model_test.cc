// That a model loads without a server: from a directory and options to an engine that can run.
#include "engine/load/load_model.h"

#include <algorithm>
#include <mutex>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

class LoadModelTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<LoadedModel>> Load(const LoadOptions& options) {
    return LoadModel(options, [this](uint64_t read_bytes, uint64_t total_bytes) {
      const std::lock_guard lock(mutex_);
      most_read_ = std::max(most_read_, read_bytes);
      total_ = total_bytes;
    });
  }

  std::mutex mutex_;
  uint64_t most_read_ = 0;
  uint64_t total_ = 0;
};

TEST_F(LoadModelTest, TheBundledModelIsReadyWithItsTextAndItsSizes) {
  const auto loaded = OrDie(
      Load({.model_directory = "models/tiny-tales/", .device = "cpu", .threads = 1, .kv_blocks = 5, .max_rows = 2}));
  EXPECT_EQ(loaded->description.name, "tiny-tales");
  EXPECT_EQ(loaded->description.revision.size(), 32u);
  EXPECT_THAT(loaded->description.fingerprint, StartsWith("cpu/exact-1/" + loaded->description.quantization + "-a32/"));
  EXPECT_THAT(loaded->description.fingerprint, EndsWith("/kv-f32/world-1/" + loaded->description.revision));
  EXPECT_NE(loaded->text.tokenizer, nullptr);
  EXPECT_EQ(loaded->engine.scheduler.cache.num_blocks, 5);
  EXPECT_EQ(loaded->engine.scheduler.max_context_tokens, 4 * kBlockSlots) << "no request can have more";
  EXPECT_GT(loaded->engine.step.tokens_per_second, 0.0);
  EXPECT_THAT(loaded->derived, Contains(Pair("kv-blocks", "5")));
  EXPECT_THAT(loaded->derived, Contains(Pair("threads", "1")));
  EXPECT_GT(total_, 0u);
  EXPECT_EQ(most_read_, total_);
}

TEST_F(LoadModelTest, WithoutATokenizerOnlyTokenIdsAreServed) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({}, directory.path());
  const auto loaded = OrDie(Load(
      {.model_directory = directory.path().string(), .device = "cpu", .threads = 1, .kv_blocks = 5, .max_rows = 2}));
  EXPECT_EQ(loaded->text.tokenizer, nullptr);
  EXPECT_THAT(loaded->warnings, Contains(HasSubstr("only token ids are served")));
  EXPECT_TRUE(loaded->engine.vocabulary.has_token.empty()) << "any id may be drawn";
}

TEST_F(LoadModelTest, Int4ExpertsNameTheFormat) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({.projections = DType::kInt4, .only_experts_int4 = true}, directory.path());
  const auto loaded = OrDie(Load(
      {.model_directory = directory.path().string(), .device = "cpu", .threads = 1, .kv_blocks = 5, .max_rows = 2}));
  EXPECT_EQ(loaded->description.quantization, "int4_group32");
  EXPECT_THAT(loaded->description.fingerprint, StartsWith("cpu/exact-1/int4_group32-a"));
  EXPECT_EQ(most_read_, total_);
}

class SpeculateTest : public LoadModelTest {
 protected:
  absl::StatusOr<std::unique_ptr<LoadedModel>> LoadWith(const std::string& speculate, int num_mtp_layers = 1) {
    const TemporaryDirectory directory;
    WriteTinyCheckpoint({.num_mtp_layers = num_mtp_layers}, directory.path());
    return Load({.model_directory = directory.path().string(),
                 .device = "cpu",
                 .threads = 1,
                 .kv_blocks = 5,
                 .speculate = speculate,
                 .max_rows = 2});
  }
  std::string ErrorOf(const std::string& speculate, int num_mtp_layers = 1) {
    return std::string(LoadWith(speculate, num_mtp_layers).status().message());
  }
};

TEST_F(SpeculateTest, LoadsTheLayerUnlessItIsOff) {
  const auto automatic = OrDie(LoadWith("auto")), three = OrDie(LoadWith("3")), off = OrDie(LoadWith("off"));
  EXPECT_TRUE(automatic->model->can_draft() && three->model->can_draft());
  EXPECT_FALSE(off->model->can_draft());
  EXPECT_EQ(automatic->engine.scheduler.max_drafts, kMaxDrafts);
  EXPECT_EQ(three->engine.scheduler.max_drafts, 3);
  EXPECT_EQ(off->engine.scheduler.max_drafts, 0);
  EXPECT_EQ(three->model->cache_bytes() * 3, off->model->cache_bytes() * 4) << "beside three layers";
  EXPECT_EQ(automatic->description.fingerprint, off->description.fingerprint) << "no byte depends on it";
  EXPECT_EQ(automatic->model->config().num_mtp_layers, 1);
  EXPECT_EQ(off->model->config().num_mtp_layers, 1);
}

TEST_F(SpeculateTest, WithoutTheLayerAutoIsOffAndSaysWhy) {
  const auto loaded = OrDie(LoadWith("auto", 0));
  EXPECT_EQ(loaded->engine.scheduler.max_drafts, 0);
  EXPECT_THAT(loaded->sizes, Contains("speculation: off (the checkpoint has no layer that predicts further tokens)"));
  EXPECT_THAT(loaded->derived, Contains(Pair("speculate", "off")));
}

TEST_F(SpeculateTest, WhatCannotBeDoneIsRefused) {
  EXPECT_EQ(ErrorOf("2", 0),
            "speculate=2: the checkpoint has no layer that predicts further tokens; set speculate=auto or off");
  for (const char* text : {"9", "0", "-1", "on", ""}) {
    EXPECT_EQ(ErrorOf(text), absl::StrCat("speculate: expected auto, off or a number from 1 to 8, found '", text, "'"));
  }
}

TEST_F(LoadModelTest, AnErrorNamesTheOptionAsItsFlag) {
  const auto message = [&](LoadOptions options) {
    options.model_directory = "models/tiny-tales";
    const auto loaded = Load(options);
    return loaded.ok() ? "loaded" : std::string(loaded.status().message());
  };
  EXPECT_THAT(message({.max_context_tokens = 1 << 20}), StartsWith("max-context-tokens=1048576 is more than"));
  EXPECT_THAT(message({.eos_token_ids = "x"}), StartsWith("eos-token-ids: expected ids from 0 to "));
  EXPECT_THAT(message({.device = "cpu", .kv_dtype = "fp4"}), StartsWith("kv-dtype: expected what cpu stores"));
  EXPECT_THAT(message({.device = "cpu", .activations = "int8"}), StartsWith("activations: expected what cpu computes"));
}

}  // namespace
}  // namespace latentd

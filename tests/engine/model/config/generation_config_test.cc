// Defaults of generation_config.json for requests that leave something out.
#include "engine/model/config/generation_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<GenerationConfig> Read(const json& file, GenerationPart part = GenerationPart::kAll) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "generation_config.json", file.dump());
  return ReadGenerationConfig(directory.path() / "generation_config.json", 4096, part);
}

GenerationDefaults DefaultsOf(const json& file) {
  const absl::StatusOr<GenerationConfig> config = Read(file);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->defaults : GenerationDefaults();
}

TEST(GenerationConfig, EverythingThatARequestCanSet) {
  const GenerationDefaults defaults = DefaultsOf({{"do_sample", true},
                                                  {"temperature", 0.7},
                                                  {"top_p", 0.8},
                                                  {"top_k", 20},
                                                  {"min_p", 0.05},
                                                  {"presence_penalty", 1.5},
                                                  {"frequency_penalty", -0.5},
                                                  {"repetition_penalty", 1.05},
                                                  {"max_new_tokens", 2048},
                                                  {"min_new_tokens", 3},
                                                  {"stop_strings", {"\nUser:", "###"}}});
  EXPECT_EQ(defaults.temperature, 0.7);
  EXPECT_EQ(defaults.top_p, 0.8);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.min_p, 0.05);
  EXPECT_EQ(defaults.presence_penalty, 1.5);
  EXPECT_EQ(defaults.frequency_penalty, -0.5);
  EXPECT_EQ(defaults.repetition_penalty, 1.05);
  EXPECT_EQ(defaults.max_tokens, 2048);
  EXPECT_EQ(defaults.min_tokens, 3);
  EXPECT_THAT(defaults.stop, ElementsAre("\nUser:", "###"));
  EXPECT_THAT(defaults.left_aside, IsEmpty());
}

TEST(GenerationConfig, NoSamplingIsGreedyWhateverTheTemperature) {
  EXPECT_EQ(DefaultsOf({{"do_sample", false}, {"temperature", 0.7}}).temperature, 0.0);
  EXPECT_EQ(DefaultsOf({{"do_sample", true}, {"temperature", 0.7}}).temperature, 0.7);
  EXPECT_EQ(DefaultsOf({{"temperature", 0.7}}).temperature, 0.7) << "as vLLM, which does not look at do_sample";
  EXPECT_FALSE(DefaultsOf({{"do_sample", nullptr}}).temperature);
}

TEST(GenerationConfig, AllTokensInEitherSpelling) {
  EXPECT_EQ(DefaultsOf({{"top_k", -1}}).top_k, 0);
  EXPECT_EQ(DefaultsOf({{"top_k", 0}}).top_k, 0);
}

// As in a request, where what it makes of a logit saturates.
TEST(GenerationConfig, TheLeastNumbersAboveZeroAreNumbers) {
  EXPECT_EQ(DefaultsOf({{"repetition_penalty", 1e-38}}).repetition_penalty, 1e-38);
  EXPECT_EQ(DefaultsOf({{"top_p", 1e-40}}).top_p, 1e-40);
}

TEST(GenerationConfig, MoreTokensThanAnyContextAreAllOfThem) {
  EXPECT_EQ(DefaultsOf({{"max_new_tokens", 2147483647}}).max_tokens, 1 << 24);
}

TEST(GenerationConfig, OneStopStringNeedsNoList) {
  EXPECT_THAT(DefaultsOf({{"stop_strings", "###"}}).stop, ElementsAre("###"));
}

TEST(GenerationConfig, WhatNothingHereDoesIsNamed) {
  EXPECT_THAT(
      DefaultsOf({{"num_beams", 4}, {"typical_p", 0.9}, {"suppress_tokens", {7}}, {"max_length", 512}}).left_aside,
      ElementsAre("max_length", "num_beams", "suppress_tokens", "typical_p"));
  EXPECT_THAT(DefaultsOf({{"num_beams", 1},
                          {"typical_p", 1.0},
                          {"no_repeat_ngram_size", 0},
                          {"suppress_tokens", json::array()},
                          {"bad_words_ids", nullptr},
                          {"token_healing", false},
                          {"use_cache", true},
                          {"_from_model_config", true},
                          {"pad_token_id", 2},
                          {"transformers_version", "4.46.3"}})
                  .left_aside,
              IsEmpty())
      << "they leave the tokens as they are";
}

TEST(GenerationConfig, TokenIdsAloneLookAtNothingElse) {
  const absl::StatusOr<GenerationConfig> config =
      Read({{"eos_token_id", {1, 5}}, {"temperature", -3}, {"num_beams", 4}}, GenerationPart::kTokenIds);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_ids, ElementsAre(1, 5));
  EXPECT_FALSE(config->defaults.temperature);
  EXPECT_THAT(config->defaults.left_aside, IsEmpty());
}

TEST(GenerationConfig, RefusesWhatARequestMayNotAskForEither) {
  const auto refused = [](const json& file, const char* says) {
    const absl::Status status = Read(file).status();
    ASSERT_FALSE(status.ok()) << says;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    EXPECT_THAT(std::string(status.message()), HasSubstr("generation_config.json"));
  };
  refused({{"temperature", -1}},
          "temperature: expected a number from 0 to 100, found -1; correct it, or say with "
          "generation-config where else the defaults come from");
  refused({{"temperature", "hot"}}, "temperature: expected a number from 0 to 100, found 'hot'");
  refused({{"top_p", 0}}, "top_p: expected a number above 0 and at most 1, found 0");
  refused({{"top_p", 2}}, "top_p: expected a number from 0 to 1, found 2");
  refused({{"top_p", 1e-50}}, "top_p: expected a number above 0 and at most 1, found 1e-50");
  refused({{"top_k", -2}}, "top_k: ");
  refused({{"top_k", int64_t{1} << 40}}, "top_k: expected an integer from -1 to 2147483647, found 1099511627776");
  refused({{"top_k", 50.0}}, "top_k: expected an integer from -1 to 2147483647, found 50.0");
  refused({{"presence_penalty", -2.5}}, "presence_penalty: expected a number from -2 to 2, found -2.5");
  refused({{"frequency_penalty", 3}}, "frequency_penalty: ");
  refused({{"min_p", 1.5}}, "min_p: ");
  refused({{"repetition_penalty", 0}}, "repetition_penalty: ");
  refused({{"max_new_tokens", 0}}, "max_new_tokens: ");
  refused({{"do_sample", "no"}}, "do_sample: expected true or false");
  refused({{"stop_strings", 7}}, "stop_strings: expected a list of strings");
  refused({{"stop_strings", {""}}}, "stop_strings: expected texts of 1 to 256 bytes");
  EXPECT_TRUE(absl::IsNotFound(ReadGenerationConfig("/nowhere", 4096, GenerationPart::kAll).status()));
}

}  // namespace
}  // namespace latentd

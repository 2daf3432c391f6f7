// Defaults of fields that a request leaves out.
#include "server/api/sampling_defaults.h"

#include <cmath>
#include <filesystem>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/load/load_options.h"
#include "server/api/group_checks.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;

v1::SamplingDefaults Defaults() {
  return SamplingDefaultsOf({.temperature = 0.5,
                             .top_p = 0.75,
                             .top_k = 7,
                             .min_p = 0.125,
                             .presence_penalty = 1.0,
                             .frequency_penalty = -1.0,
                             .repetition_penalty = 1.25,
                             .max_tokens = 50,
                             .min_tokens = 10,
                             .stop = {"###"},
                             .left_aside = {}});
}

TEST(SamplingDefaults, WithoutAFileNothingIsFiltered) {
  const v1::SamplingDefaults none = SamplingDefaultsOf({});
  const v1::Sampling sampling = SamplingOf(v1::GenerateRequest(), none);
  EXPECT_EQ(sampling.temperature(), 1.0f);
  EXPECT_EQ(sampling.top_p(), 1.0f);
  EXPECT_EQ(sampling.top_k(), 0u);
  EXPECT_EQ(sampling.min_p(), 0.0f);
  EXPECT_EQ(sampling.repetition_penalty(), 1.0f);
  EXPECT_FALSE(StoppingOf(v1::GenerateRequest(), none, 100).has_max_tokens());
  EXPECT_EQ(DescribeDefaults(none), "temperature=1, top_p=1");
}

TEST(SamplingDefaults, EachStandsInForWhatIsLeftOut) {
  const v1::Sampling sampling = SamplingOf(v1::GenerateRequest(), Defaults());
  EXPECT_EQ(sampling.temperature(), 0.5f);
  EXPECT_EQ(sampling.top_p(), 0.75f);
  EXPECT_EQ(sampling.top_k(), 7u);
  EXPECT_EQ(sampling.min_p(), 0.125f);
  EXPECT_EQ(sampling.presence_penalty(), 1.0f);
  EXPECT_EQ(sampling.frequency_penalty(), -1.0f);
  EXPECT_EQ(sampling.repetition_penalty(), 1.25f);
  const v1::Stopping stopping = StoppingOf(v1::GenerateRequest(), Defaults(), 100);
  EXPECT_EQ(stopping.max_tokens(), 50u);
  EXPECT_EQ(stopping.min_tokens(), 10u);
  EXPECT_THAT(stopping.stop(), ElementsAre("###"));
  EXPECT_EQ(DescribeDefaults(Defaults()),
            "temperature=0.5, top_p=0.75, top_k=7, min_p=0.125, presence_penalty=1, frequency_penalty=-1, "
            "repetition_penalty=1.25, max_tokens=50, min_tokens=10, stop strings=1");
}

TEST(SamplingDefaults, ARequestsOwnZeroIsAValue) {
  v1::GenerateRequest request;
  v1::Sampling& asked = *request.mutable_sampling();
  asked.set_temperature(0);
  asked.set_top_k(0);
  asked.set_min_p(0);
  asked.set_presence_penalty(0);
  asked.set_frequency_penalty(0);
  request.mutable_stopping()->set_min_tokens(0);
  const v1::Sampling sampling = SamplingOf(request, Defaults());
  EXPECT_EQ(sampling.temperature(), 0.0f);
  EXPECT_EQ(sampling.top_k(), 0u);
  EXPECT_EQ(sampling.min_p(), 0.0f);
  EXPECT_EQ(sampling.presence_penalty(), 0.0f);
  EXPECT_EQ(sampling.frequency_penalty(), 0.0f);
  EXPECT_EQ(StoppingOf(request, Defaults(), 100).min_tokens(), 0u);
}

TEST(SamplingDefaults, NoDefaultAsksForWhatTheRequestRulesOut) {
  v1::GenerateRequest request;
  EXPECT_EQ(StoppingOf(request, Defaults(), 4).min_tokens(), 4u) << "the room";
  request.mutable_stopping()->set_max_tokens(3);
  EXPECT_EQ(StoppingOf(request, Defaults(), 100).min_tokens(), 3u);
  request.mutable_stopping()->clear_max_tokens();
  request.mutable_stopping()->set_min_tokens(60);
  EXPECT_EQ(StoppingOf(request, Defaults(), 100).max_tokens(), 60u);
  request.mutable_stopping()->clear_min_tokens();
  request.mutable_sampling()->add_allowed_token_ids(1);
  EXPECT_EQ(StoppingOf(request, Defaults(), 100).min_tokens(), 0u);
  request.mutable_stopping()->add_stop("own");
  EXPECT_THAT(StoppingOf(request, Defaults(), 100).stop(), ElementsAre("own"));
}

bool IsTakenFromAFile(const std::string& key, double number) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "generation_config.json";
  WriteFile(file, absl::StrFormat("{\"%s\": %.17g}", key, number));
  return ReadGenerationConfig(file, 4096, GenerationPart::kAll).ok();
}

bool IsTakenFromARequest(const std::string& key, double number) {
  v1::Sampling sampling;
  const auto* field = v1::Sampling::descriptor()->FindFieldByName(key);
  sampling.GetReflection()->SetFloat(&sampling, field, static_cast<float>(number));
  FieldChecks checks;
  CheckSampling(sampling, v1::Model(), checks);
  return checks.Result().ok();
}

TEST(SamplingDefaults, AFileIsHeldToTheRangesOfARequest) {
  for (const char* key :
       {"temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"}) {
    for (const double number : {-3e38, -2.1,  -2.0, -1.0, -1e-38, -0.0, 0.0, 1e-50, 1e-44, 1e-38,
                                1e-6,  0.009, 0.5,  1.0,  1.0001, 2.0,  2.1, 100.0, 100.1, 3e38}) {
      EXPECT_EQ(IsTakenFromAFile(key, number), IsTakenFromARequest(key, number)) << key << " " << number;
    }
  }
}

TEST(SamplingDefaults, DescriptionTellsNeighboursApart) {
  v1::SamplingDefaults defaults = SamplingDefaultsOf({});
  defaults.set_temperature(std::nextafter(1.0f, 2.0f));
  EXPECT_EQ(DescribeDefaults(defaults), "temperature=1.0000001, top_p=1");
}

GenerationSource SourceOf(const std::string& generation_config) { return GenerationSourceOf(generation_config); }

TEST(SamplingDefaults, WhereTheyComeFrom) {
  EXPECT_TRUE(SourceOf("auto").file.empty());
  EXPECT_EQ(SourceOf("auto").part, GenerationPart::kAll);
  EXPECT_EQ(SourceOf("none").part, GenerationPart::kTokenIds);
  EXPECT_EQ(SourceOf("/some/file").file, "/some/file");
  const TemporaryDirectory directory;
  EXPECT_EQ(SourceOf(directory.path().string()).file, directory.path() / "generation_config.json");
}

}  // namespace
}  // namespace latentd

#include "server/api/request_validation.h"

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "engine/text/answer/answer_format.h"
#include "google/rpc/error_details.pb.h"
#include "server/api/served_model.h"
#include "server/api/status.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr TimePoint kReceived{std::chrono::seconds(1000)};

v1::Model SomeModel() {
  v1::Model model;
  model.set_name("tiny");
  model.set_vocab_size(4096);
  model.set_has_tokenizer(true);
  model.mutable_limits()->set_max_context_tokens(100);
  model.mutable_limits()->set_kv_blocks(3);
  model.mutable_sampling_defaults()->set_temperature(0.6f);
  model.mutable_sampling_defaults()->set_top_p(0.95f);
  return model;
}

v1::GenerateRequest GoodRequest() {
  v1::GenerateRequest request;
  request.set_text("Once");
  return request;
}

EncodedPrompt PromptOf(size_t num_tokens) { return {.field = "text", .ids = std::vector<int32_t>(num_tokens, 5)}; }

std::string FieldOf(const absl::Status& status) {
  google::rpc::BadRequest bad;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (!payload || !bad.ParseFromString(std::string(*payload)) || bad.field_violations().empty()) return "";
  return bad.field_violations(0).field();
}

struct FieldCase {
  const char* field;
  std::function<void(v1::GenerateRequest&)> spoil;
};

void ExpectNamed(std::span<const FieldCase> cases) {
  for (const FieldCase& bad : cases) {
    v1::GenerateRequest request = GoodRequest();
    bad.spoil(request);
    const absl::Status status = CheckFields(request, SomeModel());
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.field << ": " << status;
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD") << bad.field;
    EXPECT_EQ(FieldOf(status), bad.field);
  }
  EXPECT_TRUE(CheckFields(GoodRequest(), SomeModel()).ok());
}

TEST(RequestValidation, OutOfRangeFieldsAreNamed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  using R = v1::GenerateRequest;
  const FieldCase cases[] = {
      {"prompt", [](R& r) { r.clear_prompt(); }},
      {"text", [](R& r) { r.set_text(""); }},
      {"token_ids.ids", [](R& r) { r.mutable_token_ids(); }},
      {"token_ids.ids[0]", [](R& r) { r.mutable_token_ids()->add_ids(4096); }},
      {"request_id", [](R& r) { r.set_request_id(""); }},
      {"request_id", [](R& r) { r.set_request_id(std::string(129, 'x')); }},
      {"request_id", [](R& r) { r.set_request_id("tab\there"); }},
      {"sampling.temperature", [](R& r) { r.mutable_sampling()->set_temperature(-0.01f); }},
      {"sampling.temperature", [](R& r) { r.mutable_sampling()->set_temperature(kNan); }},
      {"sampling.temperature", [](R& r) { r.mutable_sampling()->set_temperature(kInfinity); }},
      {"sampling.top_p", [](R& r) { r.mutable_sampling()->set_top_p(0.0f); }},
      {"sampling.top_p", [](R& r) { r.mutable_sampling()->set_top_p(1.01f); }},
      {"sampling.top_k", [](R& r) { r.mutable_sampling()->set_top_k(1u << 31); }},
      {"sampling.min_p", [](R& r) { r.mutable_sampling()->set_min_p(1.5f); }},
      {"sampling.presence_penalty", [](R& r) { r.mutable_sampling()->set_presence_penalty(2.1f); }},
      {"sampling.frequency_penalty", [](R& r) { r.mutable_sampling()->set_frequency_penalty(kNan); }},
      {"sampling.repetition_penalty", [](R& r) { r.mutable_sampling()->set_repetition_penalty(0.0f); }},
      {"sampling.logit_bias[7]", [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[7] = kInfinity; }},
      {"sampling.logit_bias[4096]", [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[4096] = 1.0f; }},
      {"sampling.allowed_token_ids[0]", [](R& r) { r.mutable_sampling()->add_allowed_token_ids(~0u); }},
      {"sampling.n", [](R& r) { r.mutable_sampling()->set_n(0); }},
      {"sampling.n", [](R& r) { r.mutable_sampling()->set_n(65); }},
      {"stopping.max_tokens", [](R& r) { r.mutable_stopping()->set_max_tokens(0); }},
      {"stopping.max_tokens", [](R& r) { r.mutable_stopping()->set_max_tokens(101); }},
      {"stopping.min_tokens", [](R& r) { r.mutable_stopping()->set_min_tokens(101); }},
      {"stopping.min_tokens",
       [](R& r) {
         r.mutable_sampling()->add_allowed_token_ids(7);
         r.mutable_stopping()->add_stop_token_ids(7);
         r.mutable_stopping()->set_min_tokens(1);
       }},
      {"stopping.stop[0]", [](R& r) { r.mutable_stopping()->add_stop(std::string(257, 'x')); }},
      {"stopping.stop",
       [](R& r) {
         for (int i = 0; i < 17; ++i) r.mutable_stopping()->add_stop("x");
       }},
      {"stopping.stop_token_ids[0]", [](R& r) { r.mutable_stopping()->add_stop_token_ids(4096); }},
      {"output.logprobs", [](R& r) { r.mutable_output()->set_logprobs(33); }},
      {"speculation.max_drafts", [](R& r) { r.mutable_speculation()->set_max_drafts(9); }},
  };
  ExpectNamed(cases);
}

TEST(RequestValidation, OutOfRangeCacheAndSchedulingAreNamed) {
  using R = v1::GenerateRequest;
  const FieldCase cases[] = {
      {"cache.salt", [](R& r) { r.mutable_cache()->set_salt(std::string(129, 'x')); }},
      {"scheduling.timeout", [](R& r) { r.mutable_scheduling()->mutable_timeout(); }},
      {"scheduling.timeout", [](R& r) { r.mutable_scheduling()->mutable_timeout()->set_seconds(-1); }},
      {"scheduling.queue_timeout", [](R& r) { r.mutable_scheduling()->mutable_queue_timeout()->set_nanos(-1); }},
      {"scheduling.queue_timeout",
       [](R& r) { r.mutable_scheduling()->mutable_queue_timeout()->set_seconds(1ll << 60); }},
      {"cache.keep_for", [](R& r) { r.mutable_cache()->mutable_keep_for()->set_seconds(-1); }},
      {"cache.keep_for", [](R& r) { r.mutable_cache()->mutable_keep_for()->set_seconds(86401); }},
      {"cache.keep_for",
       [](R& r) {
         r.mutable_cache()->mutable_keep_for()->set_seconds(1);
         r.mutable_cache()->set_no_store(true);
       }},
      {"scheduling.priority", [](R& r) { r.mutable_scheduling()->set_priority(9); }},
      {"scheduling.priority", [](R& r) { r.mutable_scheduling()->set_priority(-9); }},
      {"scheduling.ttft_slo", [](R& r) { r.mutable_scheduling()->mutable_ttft_slo(); }},
  };
  ExpectNamed(cases);
}

TEST(RequestValidation, ValuesAtTheEndsOfTheirRangesPass) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->set_temperature(0.0f);
  request.mutable_sampling()->set_top_p(1.0f);
  request.mutable_sampling()->set_presence_penalty(-2.0f);
  request.mutable_sampling()->set_n(64);
  (*request.mutable_sampling()->mutable_logit_bias())[4095] = -100.0f;
  request.mutable_stopping()->set_max_tokens(100);
  request.mutable_output()->set_logprobs(32);
  request.mutable_scheduling()->mutable_timeout()->set_seconds(86400);
  request.mutable_scheduling()->set_priority(8);
  EXPECT_EQ(CheckFields(request, SomeModel()).message(), "");
}

TEST(RequestValidation, BoundAndValueNeverLookAlike) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->set_top_p(std::nextafter(1.0f, 2.0f));
  request.mutable_sampling()->set_min_p(std::nextafter(1.0f, 2.0f));
  request.mutable_scheduling()->mutable_timeout()->set_seconds(86400);
  request.mutable_scheduling()->mutable_timeout()->set_nanos(1);
  EXPECT_EQ(CheckFields(request, SomeModel()).message(),
            "sampling.top_p: expected more than 0 and at most 1, found 1.0000001; "
            "sampling.min_p: expected 0 to 1, found 1.0000001; "
            "scheduling.timeout: expected more than 0 and at most 86400, found 86400.000000001");
}

TEST(RequestValidation, DurationsAreToldToTheLastDigit) {
  const auto told = [](int64_t seconds, int32_t nanos) {
    v1::GenerateRequest request = GoodRequest();
    request.mutable_scheduling()->mutable_timeout()->set_seconds(seconds);
    request.mutable_scheduling()->mutable_timeout()->set_nanos(nanos);
    const std::string message(CheckFields(request, SomeModel()).message());
    return message.substr(message.rfind(' ') + 1);
  };
  EXPECT_EQ(told(0, 0), "0");
  EXPECT_EQ(told(-1, 0), "-1");
  EXPECT_EQ(told(-1, 500'000'000), "-0.5");
  EXPECT_EQ(told(-3, 1), "-2.999999999");
  EXPECT_EQ(told(9223372036854775807, 999'999'999), "9223372036854775807.999999999");
  EXPECT_EQ(told(std::numeric_limits<int64_t>::min(), 1), "-9223372036854775807.999999999");
  EXPECT_EQ(told(5, -7), "-7");
}

// A bitmap, however often an id is named.
TEST(RequestValidation, AllowedIdsReachTheEngineAsASet) {
  v1::GenerateRequest request = GoodRequest();
  for (const uint32_t id : {4095u, 64u, 0u, 64u, 64u}) request.mutable_sampling()->add_allowed_token_ids(id);
  for (const uint32_t id : {9u, 7u, 9u}) request.mutable_stopping()->add_stop_token_ids(id);
  const auto valid = MakeRequest(request, SomeModel(), PromptOf(10), kReceived);
  const std::vector<uint64_t>& allowed = valid->request.allowed;
  ASSERT_EQ(allowed.size(), 64u);
  EXPECT_EQ(allowed[0], 1u);
  EXPECT_EQ(allowed[1], 1u);
  EXPECT_EQ(allowed[63], uint64_t{1} << 63);
  EXPECT_EQ(valid->request.stopping.stop_token_ids, (std::vector<int32_t>{7, 9}));
  EXPECT_EQ(valid->sampling.allowed_token_ids_size(), 5) << "reported as it was asked for";
}

TEST(RequestValidation, SomethingMustBeLeftToDraw) {
  v1::Model model = SomeModel();
  model.add_eos_token_ids(1);
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->add_allowed_token_ids(1);
  EXPECT_EQ(CheckFields(request, model).message(), "") << "end-of-sequence alone may be drawn";
  request.mutable_stopping()->set_min_tokens(1);
  EXPECT_EQ(FieldOf(CheckFields(request, model)), "stopping.min_tokens");
  request.mutable_sampling()->add_allowed_token_ids(2);
  EXPECT_EQ(CheckFields(request, model).message(), "");
  // A vocabulary of which every token stops.
  model.set_vocab_size(3);
  request.mutable_sampling()->clear_allowed_token_ids();
  request.mutable_stopping()->add_stop_token_ids(0);
  request.mutable_stopping()->add_stop_token_ids(2);
  EXPECT_EQ(FieldOf(CheckFields(request, model)), "stopping.min_tokens");
}

TEST(RequestValidation, AllowedIdsMustStandForTokens) {
  ServedModel served;
  served.description = SomeModel();
  served.tokenizer = OrDie(LoadFrom(SmallTokenizer()));
  const auto last = static_cast<uint32_t>(served.tokenizer->vocab_size());
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->add_allowed_token_ids(last);
  EXPECT_EQ(FieldOf(CheckMasks(request, served)), "sampling.allowed_token_ids");
  request.mutable_sampling()->add_allowed_token_ids(last - 1);
  EXPECT_TRUE(CheckMasks(request, served).ok());
}

TEST(RequestValidation, InvalidWinsOverUnsupported) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->add_bad_words("x");
  EXPECT_TRUE(absl::IsUnimplemented(CheckFields(request, SomeModel())));
  request.mutable_sampling()->set_temperature(-1.0f);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckFields(request, SomeModel())));
}

TEST(RequestValidation, TextNeedsATokenizer) {
  v1::Model model = SomeModel();
  model.set_has_tokenizer(false);
  v1::GenerateRequest request = GoodRequest();
  request.mutable_stopping()->add_stop("x");
  EXPECT_EQ(FieldOf(CheckFields(request, model)), "stopping.stop");
  request = GoodRequest();
  request.mutable_output()->set_text(true);
  EXPECT_EQ(FieldOf(CheckFields(request, model)), "output.text");
}

TEST(RequestValidation, DefaultsAreResolvedAndReported) {
  const auto valid = MakeRequest(GoodRequest(), SomeModel(), PromptOf(10), kReceived);
  ASSERT_TRUE(valid.ok());
  EXPECT_EQ(valid->sampling.temperature(), 0.6f);
  EXPECT_EQ(valid->sampling.top_p(), 0.95f);
  EXPECT_EQ(valid->sampling.repetition_penalty(), 1.0f);
  EXPECT_TRUE(valid->sampling.has_seed());
  EXPECT_EQ(valid->request.sampling.seed, valid->sampling.seed());
  EXPECT_EQ(valid->request.sampling.temperature, 0.6f);
  EXPECT_EQ(valid->stopping.max_tokens(), 90u);
  EXPECT_TRUE(valid->output.text);
  EXPECT_FALSE(valid->output.token_ids);
  EXPECT_EQ(valid->request.answer.num_top_logprobs, -1);
  EXPECT_EQ(valid->request.deadline, kNever);
}

TEST(RequestValidation, ZeroIsAValueAndNotADefault) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_sampling()->set_temperature(0.0f);
  request.mutable_sampling()->set_seed(0);
  request.mutable_output()->set_logprobs(0);
  const auto valid = MakeRequest(request, SomeModel(), PromptOf(10), kReceived);
  ASSERT_TRUE(valid.ok());
  EXPECT_EQ(valid->request.sampling.temperature, 0.0f);
  EXPECT_EQ(valid->request.sampling.seed, 0u);
  EXPECT_EQ(valid->request.answer.num_top_logprobs, 0);
}

TEST(RequestValidation, CacheAndSchedulingReachTheEngine) {
  v1::GenerateRequest request = GoodRequest();
  const auto made = [&request] { return MakeRequest(request, SomeModel(), PromptOf(10), kReceived)->request; };
  EXPECT_EQ(made().cache, CacheRule());
  EXPECT_EQ(made().scheduling, SchedulingRule());
  request.mutable_cache()->set_salt("s");
  request.mutable_cache()->set_bypass(true);
  request.mutable_cache()->set_no_store(true);
  EXPECT_EQ(made().cache, (CacheRule{.salt = "s", .reads = false, .stores = false}));
  request.mutable_scheduling()->set_priority(-8);
  request.mutable_scheduling()->mutable_ttft_slo()->set_seconds(2);
  EXPECT_EQ(made().scheduling, (SchedulingRule{.priority = -8, .first_token_by = kReceived + std::chrono::seconds(2)}));
  v1::ScoreRequest score;
  score.set_text("Once upon");
  *score.mutable_cache() = request.cache();
  *score.mutable_scheduling() = request.scheduling();
  const Request scored = MakeRequest(score, SomeModel(), PromptOf(10), kReceived)->request;
  EXPECT_EQ(scored.cache, made().cache);
  EXPECT_EQ(scored.scheduling, made().scheduling);
}

TEST(RequestValidation, PrefixIsKeptForAsLongAsTheServerLetsIt) {
  v1::Model model = SomeModel();
  model.mutable_limits()->set_max_cache_keep_seconds(20.0);
  v1::GenerateRequest request = GoodRequest();
  const auto kept = [&] { return MakeRequest(request, model, PromptOf(10), kReceived)->request.cache.keep_seconds; };
  request.mutable_cache()->mutable_keep_for();
  EXPECT_EQ(CheckFields(request, model).message(), "") << "0 is a value";
  EXPECT_EQ(kept(), 0.0);
  request.mutable_cache()->mutable_keep_for()->set_seconds(19);
  request.mutable_cache()->mutable_keep_for()->set_nanos(500'000'000);
  EXPECT_EQ(kept(), 19.5);
  request.mutable_cache()->mutable_keep_for()->set_seconds(86400);
  EXPECT_EQ(kept(), 20.0);
}

TEST(RequestValidation, DraftsAreWhatTheRequestSaysElseTheServerAndNoMoreThanItHas) {
  v1::Model model = SomeModel();
  v1::ModelLimits& limits = *model.mutable_limits();
  const auto drafts = [&model](std::optional<uint32_t> asked) {
    v1::GenerateRequest request = GoodRequest();
    if (asked) request.mutable_speculation()->set_max_drafts(*asked);
    EXPECT_EQ(CheckFields(request, model).message(), "");
    return MakeRequest(request, model, PromptOf(10), kReceived)->request.max_drafts;
  };
  limits.set_max_drafts(3);
  EXPECT_EQ(drafts(std::nullopt), kAutoDrafts);
  EXPECT_EQ(drafts(0), 0);
  EXPECT_EQ(drafts(2), 2);
  EXPECT_EQ(drafts(8), 3) << "cut to what the server has";
  limits.set_default_drafts(3);
  EXPECT_EQ(drafts(std::nullopt), 3);
  EXPECT_EQ(drafts(1), 1);
  limits.set_max_drafts(0);
  limits.set_default_drafts(0);
  EXPECT_EQ(drafts(std::nullopt), 0);
  EXPECT_EQ(drafts(8), 0) << "no error where nothing can be drafted";
}

TEST(RequestValidation, TooManyDraftsAreToldWithBothNumbers) {
  v1::ChatRequest chat;
  chat.add_messages()->set_role("user");
  chat.mutable_speculation()->set_max_drafts(9);
  EXPECT_EQ(CheckFields(chat, SomeModel()).message(), "speculation.max_drafts: expected 0 to 8, found 9");
}

TEST(RequestValidation, ContextMustHoldThePromptAndWhatMustFollow) {
  v1::GenerateRequest request = GoodRequest();
  EXPECT_TRUE(MakeRequest(request, SomeModel(), PromptOf(99), kReceived).ok());
  EXPECT_EQ(ReasonOf(MakeRequest(request, SomeModel(), PromptOf(100), kReceived).status()), "CONTEXT_LENGTH_EXCEEDED");
  request.mutable_stopping()->set_min_tokens(50);
  EXPECT_TRUE(MakeRequest(request, SomeModel(), PromptOf(50), kReceived).ok());
  EXPECT_EQ(ReasonOf(MakeRequest(request, SomeModel(), PromptOf(51), kReceived).status()), "CONTEXT_LENGTH_EXCEEDED");
}

TEST(RequestValidation, WhatCanNeverFitTheCacheSaysHowMuchThereIs) {
  v1::Model model = SomeModel();
  model.mutable_limits()->set_kv_blocks(2);
  v1::GenerateRequest request = GoodRequest();
  request.mutable_stopping()->set_max_tokens(15);
  EXPECT_TRUE(MakeRequest(request, model, PromptOf(50), kReceived).ok());  // the 15th is sampled, not computed
  const absl::Status status = MakeRequest(request, model, PromptOf(51), kReceived).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), "KV_CAPACITY_EXCEEDED");
  google::rpc::ErrorInfo error;
  ASSERT_TRUE(error.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo"))));
  EXPECT_EQ(error.metadata().at("needed_blocks"), "2");
  EXPECT_EQ(error.metadata().at("total_blocks"), "1");
}

TEST(RequestValidation, TimeoutsCountFromArrival) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_scheduling()->mutable_timeout()->set_seconds(3);
  request.mutable_scheduling()->mutable_queue_timeout()->set_nanos(5);
  const auto valid = MakeRequest(request, SomeModel(), PromptOf(1), kReceived);
  ASSERT_TRUE(valid.ok());
  EXPECT_EQ(valid->request.deadline, kReceived + std::chrono::seconds(3));
  EXPECT_EQ(valid->request.queue_deadline, kReceived + std::chrono::nanoseconds(5));
}

TEST(RequestValidation, LogitBiasIsSortedById) {
  v1::GenerateRequest request = GoodRequest();
  for (const uint32_t id : {900u, 3u, 77u, 1024u}) (*request.mutable_sampling()->mutable_logit_bias())[id] = 1.0f;
  const auto valid = MakeRequest(request, SomeModel(), PromptOf(1), kReceived);
  ASSERT_TRUE(valid.ok());
  const std::vector<TokenBias> expected = {{3, 1.0f}, {77, 1.0f}, {900, 1.0f}, {1024, 1.0f}};
  EXPECT_EQ(valid->request.logit_bias, expected);
}

TEST(RequestValidation, ScoreNeedsTwoTokens) {
  v1::ScoreRequest request;
  request.set_text("Once");
  EXPECT_EQ(FieldOf(MakeRequest(request, SomeModel(), PromptOf(1), kReceived).status()), "text");
  EXPECT_TRUE(MakeRequest(request, SomeModel(), PromptOf(2), kReceived).ok());
  EXPECT_TRUE(MakeRequest(request, SomeModel(), PromptOf(100), kReceived).ok());
  EXPECT_FALSE(MakeRequest(request, SomeModel(), PromptOf(101), kReceived).ok());
}

TEST(RequestValidation, ChatChecksTheSameGroupsUnderTheSameNames) {
  v1::ChatRequest chat;
  chat.add_messages()->set_role("user");
  EXPECT_TRUE(CheckFields(chat, SomeModel()).ok());
  chat.mutable_sampling()->set_temperature(-1.0f);
  EXPECT_EQ(FieldOf(CheckFields(chat, SomeModel())), "sampling.temperature");
  chat.set_model("other");
  EXPECT_TRUE(absl::IsNotFound(CheckFields(chat, SomeModel())));
}

TEST(RequestValidation, AnswerToAChatIsParsedFromWhereThePromptEnds) {
  ServedModel model;
  model.tokenizer = OrDie(LoadFrom(SmallTokenizerWith(DeepSeekMarkers())));
  model.answer_format = FindAnswerFormat(*model.tokenizer);
  const auto answer_to = [&](const v1::ChatRequest& chat, std::string_view prompt) {
    return ChatAnswerOf(chat, OrDie(model.tokenizer->Encode(prompt, SpecialTokens::kRecognize)), model);
  };
  v1::ChatRequest chat;
  chat.add_messages()->set_role("user");
  EXPECT_FALSE(answer_to(chat, "Hi").starts_in_reasoning);
  EXPECT_TRUE(answer_to(chat, "Hi<think>\n").starts_in_reasoning);
  EXPECT_FALSE(answer_to(chat, "Hi</think>").starts_in_reasoning);
  EXPECT_EQ(answer_to(chat, "Hi").calls_before, 0);
  for (int calls = 1; calls <= 2; ++calls) {
    v1::ChatMessage* turn = chat.add_messages();
    for (int i = 0; i < calls; ++i) turn->add_tool_calls();
  }
  EXPECT_EQ(answer_to(chat, "Hi").calls_before, 3);
}

}  // namespace
}  // namespace latentd

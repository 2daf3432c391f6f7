#include "server/api/request_validation.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include <absl/strings/str_format.h>

#include "engine/schedule/block_id.h"
#include "engine/schedule/capacity.h"
#include "engine/text/answer/answer_format.h"
#include "kernels/id_bits.h"
#include "server/api/chat_checks.h"
#include "server/api/chat_context.h"
#include "server/api/continued_message.h"
#include "server/api/drawable_tokens.h"
#include "server/api/field_checks.h"
#include "server/api/group_checks.h"
#include "server/api/request_bounds.h"
#include "server/api/sampling_defaults.h"
#include "server/api/sampling_numbers.h"
#include "server/api/served_model.h"
#include "server/api/shared_fields.h"
#include "server/api/status.h"

namespace latentd {
namespace {

constexpr size_t kMinScoredTokens = 2;  // the first one has nothing before it

bool IsNameOf(const v1::Model& model, std::string_view name) {
  return name == model.name() || std::count(model.aliases().begin(), model.aliases().end(), name) > 0;
}

// `check` is told what is wrong with the other fields, where the model is the one that is served.
template <class Message, class Check>
absl::Status CheckMessage(const Message& request, const v1::Model& model, Check check) {
  if (request.has_model() && !IsNameOf(model, request.model())) return ModelNotFound(request.model(), model.name());
  FieldChecks checks;
  check(checks);
  return checks.Result();
}

TimePoint After(TimePoint received, const google::protobuf::Duration& duration) {
  return received + std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

// The fields that Generate and Chat share.
void CheckGroups(const v1::GenerateRequest& request, const v1::Model& model, FieldChecks& checks) {
  if (request.has_request_id()) CheckRequestId(request.request_id(), checks);
  CheckSampling(request.sampling(), model, checks);
  CheckStopping(request.stopping(), model, checks);
  const auto is_token = [](int32_t) { return true; };  // the tokenizer knows better, see CheckMasks
  if (checks.Result().ok()) CheckSomethingCanBeDrawn(request, model, is_token, checks);
  CheckConstraint(request.constraint(), checks);
  CheckOutput(request.output(), model, checks);
  CheckCache(request.cache(), checks);
  CheckScheduling(request.scheduling(), checks);
  CheckSpeculation(request.speculation(), checks);
}

// How a text is encoded says nothing of ids.
template <class Message>
void CheckOnlyWithText(const Message& request, FieldChecks& checks) {
  const std::string_view why = "expected only with text: ids are taken as they are, a chat has its own";
  if (request.has_safe_mode()) checks.Invalid("safe_mode", why);
  if (request.has_add_special_tokens()) checks.Invalid("add_special_tokens", why);
}

template <class Message>
void CheckPrompt(const Message& request, const v1::Model& model, FieldChecks& checks) {
  if (request.has_token_ids()) CheckOnlyWithText(request, checks);
  switch (request.prompt_case()) {
    case Message::kText:
      if (request.text().empty()) checks.Invalid("text", "expected a prompt of at least one character, found none");
      return;
    case Message::kTokenIds:
      if (request.token_ids().ids().empty()) {
        checks.Invalid("token_ids.ids", "expected a prompt of at least one token, found none");
      }
      checks.TokenIds("token_ids.ids", request.token_ids().ids(), model.vocab_size());
      return;
    case Message::PROMPT_NOT_SET:
      checks.Invalid("prompt", "expected text or token_ids, found neither");
      return;
  }
}

uint64_t DrawSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

v1::Sampling ResolveSampling(const v1::GenerateRequest& message, const v1::Model& model) {
  v1::Sampling sampling = SamplingOf(message, model.sampling_defaults());
  if (!sampling.has_seed()) sampling.set_seed(DrawSeed());
  if (!sampling.has_n()) sampling.set_n(1);
  return sampling;
}

std::vector<TokenBias> LogitBiasOf(const v1::Sampling& sampling) {
  std::vector<TokenBias> biases;
  for (const auto& [id, bias] : sampling.logit_bias()) biases.push_back({static_cast<int32_t>(id), bias});
  // A map has no order and sums have one.
  std::sort(biases.begin(), biases.end(), [](const TokenBias& a, const TokenBias& b) { return a.id < b.id; });
  return biases;
}

v1::Stopping ResolveStopping(const v1::Stopping& asked, int room) {
  v1::Stopping stopping = asked;
  const uint32_t most = static_cast<uint32_t>(room);
  stopping.set_max_tokens(asked.has_max_tokens() ? std::min(asked.max_tokens(), most) : most);
  stopping.set_min_tokens(asked.min_tokens());
  stopping.set_include_stop(asked.include_stop());
  stopping.set_ignore_eos(asked.ignore_eos());
  return stopping;
}

// The engine gets what was asked for: it tells the end of the context from max_tokens.
StoppingRule ForEngine(const v1::Stopping& stopping, int context) {
  // Compared with every token: as few as they are.
  std::vector<int32_t> ends(stopping.stop_token_ids().begin(), stopping.stop_token_ids().end());
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return {.max_tokens = stopping.has_max_tokens() ? static_cast<int>(stopping.max_tokens()) : context,
          .min_tokens = static_cast<int>(stopping.min_tokens()),
          .stop_strings = {stopping.stop().begin(), stopping.stop().end()},
          .stop_token_ids = std::move(ends),
          .include_stop = stopping.include_stop(),
          .ignore_eos = stopping.ignore_eos()};
}

OutputChoice ResolveOutput(const v1::Output& output, const v1::Model& model) {
  return {.text = output.has_text() ? output.text() : model.has_tokenizer(),
          .token_ids = output.has_token_ids() ? output.token_ids() : !model.has_tokenizer(),
          .token_bytes = output.token_bytes(),
          .logprobs = output.has_logprobs()};
}

CacheRule CacheRuleOf(const v1::Cache& cache, const v1::Model& model) {
  const double keep_seconds =
      static_cast<double>(cache.keep_for().seconds()) + static_cast<double>(cache.keep_for().nanos()) * 1e-9;
  return {.salt = cache.salt(),
          .reads = !cache.bypass(),
          .stores = !cache.no_store(),
          .keep_seconds = std::min(keep_seconds, model.limits().max_cache_keep_seconds())};
}

int MaxDraftsOf(const v1::Speculation& speculation, const v1::ModelLimits& limits) {
  if (!speculation.has_max_drafts() && !limits.has_default_drafts()) return kAutoDrafts;
  const uint32_t asked = speculation.has_max_drafts() ? speculation.max_drafts() : limits.default_drafts();
  return static_cast<int>(std::min(asked, limits.max_drafts()));
}

// Its place among others; the tenant is not in the message.
void SetScheduling(const v1::Scheduling& scheduling, TimePoint received, Request* request) {
  request->received = received;
  request->scheduling.priority = scheduling.priority();
  if (scheduling.has_ttft_slo()) request->scheduling.first_token_by = After(received, scheduling.ttft_slo());
  if (scheduling.has_queue_timeout()) request->queue_deadline = After(received, scheduling.queue_timeout());
  if (scheduling.has_timeout()) request->deadline = After(received, scheduling.timeout());
}

// What the engine would refuse, told with both numbers; and where less than `least_output` tokens have room behind the
// prompt, which is that of `field`.
absl::Status CheckCapacity(const Request& request, int least_output, std::string_view field, const v1::Model& model) {
  const Capacity capacity{.max_context_tokens = static_cast<int>(model.limits().max_context_tokens()),
                          .num_blocks = UsableBlocks(static_cast<int>(model.limits().kv_blocks()))};
  const std::optional<Misfit> misfit = FindMisfit(request, capacity, least_output);
  if (!misfit) return absl::OkStatus();
  switch (misfit->kind) {
    case Misfit::Kind::kContext:
      return ContextLengthExceeded(field, request.prompt.size(), static_cast<size_t>(least_output),
                                   static_cast<size_t>(misfit->limit));
    case Misfit::Kind::kBlocks:
      return KvCapacityExceeded(static_cast<int>(misfit->needed), static_cast<int>(misfit->limit));
    case Misfit::Kind::kNoPrompt:
    case Misfit::Kind::kNoOutput:
      break;  // CheckFields lets neither through; the engine refuses them as a fault of this server
  }
  return absl::OkStatus();
}

}  // namespace

v1::GenerateRequest GroupsOf(const v1::ChatRequest& request) {
  static const SharedFields shared(*v1::ChatRequest::descriptor(), *v1::GenerateRequest::descriptor());
  v1::GenerateRequest groups;
  shared.Copy(request, &groups);
  return groups;
}

absl::Status CheckFields(const v1::GenerateRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [&](FieldChecks& checks) {
    CheckPrompt(request, model, checks);
    CheckGroups(request, model, checks);
  });
}

absl::Status CheckFields(const v1::ChatRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [&](FieldChecks& checks) {
    CheckChat(request, "", checks);
    checks.Unsupported(request.has_parallel_tool_calls() && !request.parallel_tool_calls(), "parallel_tool_calls",
                       "the model decides how many calls it makes, which cannot be kept to one");
    CheckGroups(GroupsOf(request), model, checks);
  });
}

absl::Status CheckFields(const v1::DetokenizeRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [&](FieldChecks& checks) {
    if (checks.Count("token_ids", static_cast<size_t>(request.token_ids_size()), kMaxDetokenizedIds)) {
      checks.TokenIds("token_ids", request.token_ids(), model.vocab_size());
    }
  });
}

absl::Status CheckFields(const v1::TokenizeRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [&](FieldChecks& checks) {
    if (request.input_case() == v1::TokenizeRequest::INPUT_NOT_SET) {
      checks.Invalid("input", "expected text or chat, found neither");
    }
    if (!request.has_chat()) return;
    CheckOnlyWithText(request, checks);
    CheckChat(request.chat(), "chat.", checks);
  });
}

absl::Status CheckFields(const v1::ScoreRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [&](FieldChecks& checks) {
    CheckPrompt(request, model, checks);
    if (request.has_request_id()) CheckRequestId(request.request_id(), checks);
    checks.Range("top_logprobs", request.top_logprobs(), 0, kMaxTopLogprobs);
    CheckCache(request.cache(), checks);
    CheckScheduling(request.scheduling(), checks);
  });
}

absl::Status CheckFields(const v1::GetModelRequest& request, const v1::Model& model) {
  return CheckMessage(request, model, [](FieldChecks&) {});
}

absl::Status CheckMasks(const v1::GenerateRequest& groups, const ServedModel& model) {
  FieldChecks checks;
  const auto is_token = [&](int32_t id) { return model.tokenizer == nullptr || model.tokenizer->HasToken(id); };
  CheckSomethingCanBeDrawn(groups, model.description, is_token, checks);
  return checks.Result();
}

absl::StatusOr<ValidRequest> MakeRequest(const v1::GenerateRequest& message, const v1::Model& model,
                                         EncodedPrompt prompt, TimePoint received) {
  const int prompt_tokens = static_cast<int>(prompt.ids.size());
  const int context = static_cast<int>(model.limits().max_context_tokens());
  const int room = std::max(0, context - prompt_tokens);
  ValidRequest valid;
  valid.request_id = message.request_id();
  valid.sampling = ResolveSampling(message, model);
  const v1::Stopping stopping = StoppingOf(message, model.sampling_defaults(), room);
  valid.stopping = ResolveStopping(stopping, room);
  valid.output = ResolveOutput(message.output(), model);
  Request& request = valid.request;
  request.kind = RequestKind::kGenerate;
  const v1::Output& output = message.output();
  request.answer.prints_special_tokens = output.has_skip_special_tokens() && !output.skip_special_tokens();
  request.prompt = std::move(prompt.ids);
  request.sampling = RuleOf(valid.sampling);
  request.num_sequences = static_cast<int>(valid.sampling.n());
  request.logit_bias = LogitBiasOf(valid.sampling);
  const auto& allowed = valid.sampling.allowed_token_ids();
  if (!allowed.empty()) request.allowed = BitsOf(allowed, model.vocab_size());
  request.stopping = ForEngine(stopping, context);
  if (output.has_logprobs()) request.answer.num_top_logprobs = static_cast<int>(output.logprobs());
  const int least_output = std::max(1, request.stopping.min_tokens);
  if (absl::Status status = CheckCapacity(request, least_output, prompt.field, model); !status.ok()) return status;
  request.cache = CacheRuleOf(message.cache(), model);
  request.max_drafts = MaxDraftsOf(message.speculation(), model.limits());
  SetScheduling(message.scheduling(), received, &request);
  return valid;
}

namespace {

// Where the prompt does not end in a marker: what goes on with a message is part of that.
bool StartsInReasoning(const v1::ChatRequest& message, const ChatFormat& format) {
  if (!message.continue_final_message() || message.messages().empty()) return format.answer_style.begins_with_reasoning;
  const std::string& text = ContinuedText(*message.messages().rbegin());
  const size_t begin = text.rfind(kReasoningBeginText);
  return begin != text.npos && text.find(kReasoningEndText, begin) == text.npos && !message.safe_mode();
}

}  // namespace

ChatAnswer ChatAnswerOf(const v1::ChatRequest& message, std::span<const int32_t> prompt_ids, const ServedModel& model) {
  const ChatFormat& format = model.FormatFor(ForbidsCalls(message) ? 0 : message.tools_size());
  const AnswerStart untold = StartsInReasoning(message, format) ? AnswerStart::kReasoning : AnswerStart::kContent;
  const AnswerStart start = AnswerStartOf(model.answer_format, *model.tokenizer, prompt_ids, untold);
  // Calls that could not come back as part of the conversation stay what they are: content.
  const bool has_calls = !ForbidsCalls(message) && format.tool_call_style.prints_every_answer();
  ChatAnswer answer{.starts_in_reasoning = start == AnswerStart::kReasoning, .calls_before = 0, .has_calls = has_calls};
  for (const v1::ChatMessage& turn : message.messages()) answer.calls_before += turn.tool_calls_size();
  return answer;
}

absl::StatusOr<ValidRequest> MakeRequest(const v1::ScoreRequest& message, const v1::Model& model, EncodedPrompt prompt,
                                         TimePoint received) {
  if (prompt.ids.size() < kMinScoredTokens) {
    return InvalidField(prompt.field, absl::StrFormat("expected at least %d tokens to score, found %d",
                                                      kMinScoredTokens, prompt.ids.size()));
  }
  ValidRequest valid;
  valid.request_id = message.request_id();
  valid.output = {.text = false, .token_ids = true, .token_bytes = false, .logprobs = true};
  valid.request.kind = RequestKind::kScore;
  valid.request.prompt = std::move(prompt.ids);
  valid.request.answer.num_prompt_logprobs = static_cast<int>(message.top_logprobs());
  if (absl::Status status = CheckCapacity(valid.request, 0, prompt.field, model); !status.ok()) return status;
  valid.request.cache = CacheRuleOf(message.cache(), model);
  SetScheduling(message.scheduling(), received, &valid.request);
  return valid;
}

}  // namespace latentd

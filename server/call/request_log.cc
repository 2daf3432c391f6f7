#include "server/call/request_log.h"

#include <spdlog/spdlog.h>

#include "server/process/logging.h"

namespace latentd {
namespace {

std::string& LoggedModel() {
  static std::string model;
  return model;
}

spdlog::level::level_enum LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnknown:
      return spdlog::level::err;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return spdlog::level::warn;
    default:
      return spdlog::level::info;
  }
}

}  // namespace

void NameModelInRequestLog(const std::string& model) { LoggedModel() = model; }

void LogFinishedCall(const FinishedCall& call) {
  const spdlog::level::level_enum level = LevelOf(call.code);
  if (!spdlog::should_log(level)) return;
  LogFields fields;
  const CallFacts& facts = call.facts;
  if (!facts.request_id.empty()) fields.Add("request_id", facts.request_id);
  fields.Add("method", call.method);
  if (!facts.tenant.empty()) fields.Add("tenant", facts.tenant);
  fields.Add("code", absl::StatusCodeToString(call.code));
  fields.Add("reason", call.reason);
  if (facts.prompt_tokens) fields.Add("prompt_tokens", *facts.prompt_tokens);
  if (facts.generated_tokens) fields.Add("generated_tokens", *facts.generated_tokens);
  if (facts.drafted_tokens > 0) {
    fields.Add("drafted_tokens", facts.drafted_tokens);
    fields.Add("accepted_tokens", facts.accepted_tokens);
  }
  if (facts.num_answers > 1) fields.Add("answers", facts.num_answers);
  if (facts.queue_seconds) fields.AddSeconds("queue_seconds", *facts.queue_seconds);
  if (facts.ttft_seconds) fields.AddSeconds("ttft_seconds", *facts.ttft_seconds);
  if (facts.decode_seconds) fields.AddSeconds("decode_seconds", *facts.decode_seconds);
  fields.AddSeconds("total_seconds", call.total_seconds);
  fields.Add("peer", call.origin.peer);
  if (!call.origin.credential.empty()) fields.Add("credential", call.origin.credential);
  fields.Add("model", LoggedModel());
  if (!call.origin.traceparent.empty()) fields.Add("traceparent", call.origin.traceparent);
  LogEvent(level, "request", fields);
}

}  // namespace latentd

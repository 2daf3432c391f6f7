#include "tools/load/request_record.h"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace latentd {

namespace {

using grpc::StatusCode;

struct AllowedEnd {
  Behaviour behaviour;
  StatusCode code;
  std::string_view reason = {};  // empty: any
};

constexpr AllowedEnd kAllowedEnds[] = {
    {Behaviour::kWell, StatusCode::OK},
    {Behaviour::kCancelQueued, StatusCode::OK},
    {Behaviour::kCancelQueued, StatusCode::CANCELLED},
    {Behaviour::kCancelPrefill, StatusCode::OK},
    {Behaviour::kCancelPrefill, StatusCode::CANCELLED},
    {Behaviour::kCancelDecode, StatusCode::OK},
    {Behaviour::kCancelDecode, StatusCode::CANCELLED},
    {Behaviour::kRpcDeadline, StatusCode::OK},
    {Behaviour::kRpcDeadline, StatusCode::DEADLINE_EXCEEDED},
    {Behaviour::kServerTimeout, StatusCode::OK},
    {Behaviour::kServerTimeout, StatusCode::DEADLINE_EXCEEDED},
    {Behaviour::kRpcDeadline, StatusCode::RESOURCE_EXHAUSTED, "SLO_UNATTAINABLE"},
    {Behaviour::kServerTimeout, StatusCode::RESOURCE_EXHAUSTED, "SLO_UNATTAINABLE"},
    {Behaviour::kSlowReader, StatusCode::OK},
    {Behaviour::kSlowReader, StatusCode::RESOURCE_EXHAUSTED, "SLOW_CONSUMER"},
    {Behaviour::kSlowReader, StatusCode::DEADLINE_EXCEEDED},
    {Behaviour::kStalledReader, StatusCode::OK},  // an answer that the connection took whole
    {Behaviour::kStalledReader, StatusCode::CANCELLED},
    {Behaviour::kStalledReader, StatusCode::RESOURCE_EXHAUSTED, "SLOW_CONSUMER"},
    {Behaviour::kMalformed, StatusCode::INVALID_ARGUMENT, "INVALID_FIELD"},
    {Behaviour::kOversize, StatusCode::INVALID_ARGUMENT, "CONTEXT_LENGTH_EXCEEDED"},
    {Behaviour::kOversize, StatusCode::RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"},
    {Behaviour::kDuplicateId, StatusCode::OK},
    {Behaviour::kDuplicateId, StatusCode::ALREADY_EXISTS, "DUPLICATE_REQUEST_ID"},
};

// A full server's, to be tried again later.
constexpr std::string_view kRefusals[] = {"QUEUE_FULL",  "QUEUE_TOKENS", "TENANT_QUOTA",
                                          "INTAKE_FULL", "ANSWERS_FULL", "SLO_UNATTAINABLE"};

}  // namespace

bool EndedAsExpected(const RequestRecord& record) {
  if (record.was_interrupted && record.code == StatusCode::CANCELLED) return true;
  const auto is_reason = [&record](std::string_view reason) { return record.reason == reason; };
  if (record.may_be_refused && record.code == StatusCode::RESOURCE_EXHAUSTED &&
      std::any_of(std::begin(kRefusals), std::end(kRefusals), is_reason)) {
    return true;
  }
  const auto allows = [&record](const AllowedEnd& end) {
    return end.behaviour == record.behaviour && end.code == record.code &&
           (end.reason.empty() || end.reason == record.reason);
  };
  return std::any_of(std::begin(kAllowedEnds), std::end(kAllowedEnds), allows);
}

std::string NameOf(v1::EndReason reason) {
  static constexpr std::string_view kPrefix = "END_REASON_";
  const std::string& name = v1::EndReason_Name(reason);
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

}  // namespace latentd

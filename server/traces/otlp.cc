#include "server/traces/otlp.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include <absl/status/status.h>

#include "server/api/causes.h"
#include "server/api/methods.h"

namespace latentd {
namespace {

namespace common = opentelemetry::proto::common::v1;
namespace trace = opentelemetry::proto::trace::v1;

using Attributes = google::protobuf::RepeatedPtrField<common::KeyValue>;

constexpr char kService[] = "latentd";
// The flags of a span: it is recorded; whether its parent is remote is known; it is.
constexpr uint32_t kSampled = 1, kHasIsRemote = 1u << 8, kIsRemote = 1u << 9;
// W3C Trace Context, 3.2: version, trace id, parent id, flags.
constexpr size_t kTraceIdAt = 3, kTraceIdDigits = 32, kParentIdAt = 36, kParentIdDigits = 16;
constexpr size_t kIdBytes = 8;

common::AnyValue* Add(std::string_view key, Attributes& attributes) {
  common::KeyValue* const attribute = attributes.Add();
  attribute->set_key(std::string(key));
  return attribute->mutable_value();
}
void AddText(std::string_view key, std::string_view value, Attributes& attributes) {
  Add(key, attributes)->set_string_value(std::string(value));
}
void AddNumber(std::string_view key, int64_t value, Attributes& attributes) {
  Add(key, attributes)->set_int_value(value);
}
void AddReal(std::string_view key, double value, Attributes& attributes) {
  Add(key, attributes)->set_double_value(value);
}

std::string FromHex(std::string_view digits) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<char>(value(digits[i]) << 4 | value(digits[i + 1])));
  }
  return bytes;
}

// Never all zeros, which is no id.
std::string DrawId(size_t num_bytes, const DrawBits& draw) {
  std::string id;
  while (id.size() < num_bytes) {
    const uint64_t bits = std::max<uint64_t>(draw(), 1);
    id.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  }
  return id;
}

std::string_view OperationOf(std::string_view method) {
  if (method == "Chat") return "chat";
  return method == "Score" ? "score" : "text_completion";
}

// As the conventions have it; empty where nothing was generated.
std::string_view FinishReasonOf(Cause cause) {
  switch (cause) {
    case Cause::kEos:
    case Cause::kStopString:
    case Cause::kStopToken:
      return "stop";
    case Cause::kMaxTokens:
    case Cause::kContextLimit:
      return "length";
    default:
      return "";
  }
}

class SpanWriter {
 public:
  SpanWriter(const RequestSpan& from, const TraceResource& resource, trace::Span& to)
      : from_(from), resource_(resource), to_(to) {}

  void Write(const DrawBits& draw) {
    Place(draw);
    to_.set_name(std::string(OperationOf(from_.method)) + " " + resource_.model);
    to_.set_kind(trace::Span::SPAN_KIND_SERVER);
    to_.set_start_time_unix_nano(UnixNanos(from_.received));
    to_.set_end_time_unix_nano(UnixNanos(from_.ended));
    Describe();
    if (from_.choices) DescribeChoices(*from_.choices);
    if (from_.run) DescribeRun(*from_.run);
    if (from_.code != absl::StatusCode::kOk) DescribeFailure();
    AddEvents();
  }

 private:
  // Its place in the caller's trace, or at the root of one of its own.
  void Place(const DrawBits& draw) {
    to_.set_span_id(DrawId(kIdBytes, draw));
    if (from_.traceparent.empty()) {
      to_.set_trace_id(DrawId(2 * kIdBytes, draw));
      to_.set_flags(kSampled | kHasIsRemote);
      return;
    }
    const std::string_view parent = from_.traceparent;
    to_.set_trace_id(FromHex(parent.substr(kTraceIdAt, kTraceIdDigits)));
    to_.set_parent_span_id(FromHex(parent.substr(kParentIdAt, kParentIdDigits)));
    to_.set_flags(kSampled | kHasIsRemote | kIsRemote);
  }

  void Describe() {
    Attributes& all = *to_.mutable_attributes();
    AddText("gen_ai.operation.name", OperationOf(from_.method), all);
    AddText("gen_ai.provider.name", kService, all);
    AddText("gen_ai.request.model", resource_.model, all);
    AddText("rpc.system", "grpc", all);
    AddText("rpc.method", from_.method, all);
    AddNumber("rpc.grpc.status_code", static_cast<int64_t>(from_.code), all);
    AddText("latentd.reason", RowOf(from_.cause).reason, all);
    if (!from_.request_id.empty()) AddText("gen_ai.response.id", from_.request_id, all);
    if (!from_.tenant.empty()) AddText("latentd.tenant", from_.tenant, all);
    if (from_.prompt_tokens) AddNumber("gen_ai.usage.input_tokens", *from_.prompt_tokens, all);
  }

  void DescribeChoices(const SpanChoices& choices) {
    if (from_.method == "Score") return;  // nothing is drawn
    Attributes& all = *to_.mutable_attributes();
    AddNumber("gen_ai.request.max_tokens", choices.max_tokens, all);
    AddReal("gen_ai.request.temperature", choices.temperature, all);
    AddReal("gen_ai.request.top_p", choices.top_p, all);
    AddNumber("gen_ai.request.top_k", choices.top_k, all);
    AddReal("gen_ai.request.presence_penalty", choices.presence_penalty, all);
    AddReal("gen_ai.request.frequency_penalty", choices.frequency_penalty, all);
    AddNumber("gen_ai.request.seed", static_cast<int64_t>(choices.seed), all);
    if (choices.num_answers > 1) AddNumber("gen_ai.request.choice.count", choices.num_answers, all);
  }

  void DescribeRun(const SpanRun& run) {
    Attributes& all = *to_.mutable_attributes();
    AddText("gen_ai.response.model", resource_.model, all);
    AddNumber("gen_ai.usage.output_tokens", run.output_tokens, all);
    AddNumber("gen_ai.usage.cache_read.input_tokens", run.cached_tokens, all);
    const std::string_view reason = FinishReasonOf(from_.cause);
    if (reason.empty()) return;
    common::ArrayValue* const reasons = Add("gen_ai.response.finish_reasons", all)->mutable_array_value();
    reasons->add_values()->set_string_value(std::string(reason));
  }

  // What its client caused is no error of this server's span.
  void DescribeFailure() {
    const CauseRow& row = RowOf(from_.cause);
    AddText("error.type", row.reason, *to_.mutable_attributes());
    if (row.party == Party::kClient) return;
    to_.mutable_status()->set_code(trace::Status::STATUS_CODE_ERROR);
    to_.mutable_status()->set_message(std::string(row.reason));
  }

  // In the order in which they happened.
  void AddEvents() {
    if (from_.run) AddEventsOf(*from_.run);
    AddEvent("end", from_.ended);
  }

  void AddEventsOf(const SpanRun& run) {
    AddEvent("queued", from_.received);
    AddEvent("admitted", run.first_scheduled);
    const bool is_preempted_first = run.first_preempted < run.first_token;
    if (is_preempted_first) AddPreempted(run);
    AddEvent("first token", run.first_token);
    if (!is_preempted_first) AddPreempted(run);
  }

  trace::Span::Event* AddEvent(std::string_view name, TimePoint at) {
    if (at == kNever) return nullptr;
    trace::Span::Event* const event = to_.add_events();
    event->set_name(std::string(name));
    event->set_time_unix_nano(UnixNanos(at));
    return event;
  }

  void AddPreempted(const SpanRun& run) {
    trace::Span::Event* const event = AddEvent("preempted", run.first_preempted);
    if (event == nullptr) return;
    AddNumber("latentd.preemptions", run.num_preemptions, *event->mutable_attributes());
    AddReal("latentd.preempted_seconds", Seconds(run.preempted), *event->mutable_attributes());
  }

  uint64_t UnixNanos(TimePoint at) const {
    const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(from_.ended_at.time_since_epoch()) -
                       std::chrono::duration_cast<std::chrono::nanoseconds>(from_.ended - at);
    return static_cast<uint64_t>(since.count());
  }

  const RequestSpan& from_;
  const TraceResource& resource_;
  trace::Span& to_;
};

}  // namespace

otlp::ExportTraceServiceRequest ExportRequestOf(const std::vector<RequestSpan>& spans, const TraceResource& resource,
                                                const DrawBits& draw) {
  otlp::ExportTraceServiceRequest request;
  trace::ResourceSpans& all = *request.add_resource_spans();
  Attributes& attributes = *all.mutable_resource()->mutable_attributes();
  AddText("service.name", kService, attributes);
  AddText("service.version", LATENTD_VERSION, attributes);
  AddText("service.instance.id", resource.instance, attributes);
  trace::ScopeSpans& scope = *all.add_scope_spans();
  scope.mutable_scope()->set_name(kService);
  scope.mutable_scope()->set_version(LATENTD_VERSION);
  for (const RequestSpan& span : spans) SpanWriter(span, resource, *scope.add_spans()).Write(draw);
  return request;
}

}  // namespace latentd

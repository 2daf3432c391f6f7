#include "server/call/live_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/api/outcomes.h"
#include "server/api/status.h"

namespace latentd {
namespace {

// The client's timer runs out as much earlier than ours as its request travelled; gRPC then shows a plain cancellation.
constexpr std::chrono::milliseconds kDeadlineSlack{50};

std::optional<double> SecondsBetween(TimePoint from, TimePoint to) {
  if (from == kNever || to == kNever) return std::nullopt;
  return Seconds(to - from);
}

}  // namespace

bool IsExpired(TimePoint cancelled_at, TimePoint rpc_deadline) {
  return rpc_deadline != kNever && cancelled_at != kNever && cancelled_at + kDeadlineSlack >= rpc_deadline;
}

CallRecord::CallRecord(CallOrigin origin, Metrics& metrics, std::string_view method)
    : metrics_(metrics),
      method_(method),
      origin_(std::move(origin)),
      received_(std::chrono::steady_clock::now()),
      phase_(RunsTheModel(method) ? Phase::kQueued : Phase::kOutput) {
  metrics_.Update([this](MetricsData& data) {
    ++data.requests_received[method_];
    ++data.requests_in_flight[static_cast<size_t>(phase_)];
  });
}

void CallRecord::Finish(const absl::Status& status, Cause success) {
  // A status that no function of status.h made is a fault of this server.
  const Cause cause = status.ok() ? success : CauseOf(status).value_or(Cause::kEngineFault);
  const Outcome outcome{.method = method_,
                        .grpc_code = absl::StatusCodeToString(status.code()),
                        .reason = std::string(RowOf(cause).reason)};
  const double seconds = Seconds(std::chrono::steady_clock::now() - received_);
  metrics_.Update([&](MetricsData& data) {
    ++data.requests_finished[outcome];
    --data.requests_in_flight[static_cast<size_t>(phase_)];
    data.outcomes[outcome.reason].request_seconds.Observe(seconds);
    if (end_) {
      ObserveRun(cause, data);
    } else if (RowOf(cause).refuses_admission()) {
      ++data.admission_rejected[outcome.reason];
    }
  });
  LogFinishedCall({.method = method_,
                   .origin = origin_,
                   .facts = facts_,
                   .code = status.code(),
                   .reason = outcome.reason,
                   .total_seconds = seconds});
}

// A stage that the request did not leave lasted until its end.
void CallRecord::ObserveRun(Cause cause, MetricsData& data) const {
  const SequenceTimings& at = end_->sequence.timings;
  OutcomeTotals& totals = data.outcomes[std::string(RowOf(cause).reason)];
  const auto observe = [](Histogram& histogram, TimePoint from, TimePoint to) {
    histogram.Observe(Seconds(to - from));
  };
  observe(totals.queue_seconds, at.received, std::min(at.first_scheduled, at.finished));
  if (at.first_scheduled != kNever) {
    observe(totals.prefill_seconds, at.first_scheduled, std::min(at.first_token, at.finished));
  }
  if (at.first_token != kNever) {
    observe(totals.time_to_first_token_seconds, at.received, at.first_token);
    observe(totals.decode_seconds, at.first_token, at.finished);
  }
  totals.inter_token_latency_seconds.Add(at.token_gaps);
  if (end_->sequence.generated_tokens > 1) {
    const double seconds = Seconds(at.last_token - at.first_token);
    totals.time_per_output_token_seconds.Observe(seconds / (end_->sequence.generated_tokens - 1));
  }
  if (at.cancel_asked != kNever) observe(totals.cancel_to_release_seconds, at.cancel_asked, at.released);
  totals.wasted_tokens += WastedTokens(cause, *end_);
  data.prompt_length_tokens.Observe(end_->sequence.prompt_tokens);
  if (end_->reason() != FinishReason::kScored) data.generation_length_tokens.Observe(end_->answer.output_tokens);
}

Metadata CallRecord::EchoedTrace() const {
  if (origin_.traceparent.empty()) return {};
  return {{"traceparent", origin_.traceparent}};
}

LiveCall::LiveCall(LiveRequests& live, CallRecord record) : live_(live), record_(std::move(record)) {}

LiveCall::~LiveCall() {
  if (!request_id_.empty()) live_.Release(request_id_);
}

absl::Status LiveCall::Submit(ValidRequest request, TimePoint rpc_deadline, TextSink* sink) {
  id_ = live_.engine().NextRequestId();
  std::string name = request.request_id.empty() ? live_.MakeName(id_) : request.request_id;
  request_ = std::move(request);
  prompt_tokens_ = static_cast<int>(request_.request.prompt.size());
  record_.facts().request_id = name;
  record_.facts().prompt_tokens = prompt_tokens_;
  const StreamBacklog backlog{.num_bytes = &record_.metrics().stream_backlog_bytes(),
                              .max_bytes = static_cast<int64_t>(live_.max_backlog_bytes())};
  stream_ = std::make_shared<TokenStream>(sink, live_.max_pending_bytes(), backlog);
  const bool is_new = live_.Claim({.request_id = name,
                                   .method = record_.method(),
                                   .id = id_,
                                   .received = record_.received(),
                                   .prompt_tokens = prompt_tokens_,
                                   .stream = stream_});
  if (!is_new) return DuplicateRequestId(name);
  request_id_ = std::move(name);
  rpc_deadline_ = rpc_deadline;
  request_.request.id = id_;
  request_.request.deadline = std::min(request_.request.deadline, rpc_deadline);
  record_.LeavesFrom(Phase::kOutput);
  const std::optional<Refusal> refusal = live_.engine().Submit(std::move(request_.request), stream_);
  if (!refusal) return absl::OkStatus();
  record_.LeavesFrom(Phase::kQueued);
  return StatusOfRefusal(*refusal, request_id_);
}

void LiveCall::Cancel() {
  cancelled_at_ = std::chrono::steady_clock::now();
  live_.engine().Cancel(id_);
}

void LiveCall::Detach() {
  if (stream_ != nullptr) stream_->Detach();
}

std::optional<StreamChunk> LiveCall::Take() {
  bool was_full = false;
  std::optional<StreamChunk> chunk = stream_->Take(&was_full);
  if (was_full) live_.engine().Resume(id_);
  if (chunk && chunk->end) record_.Ran(*chunk->end);
  return chunk;
}

Metadata LiveCall::InitialMetadata() const {
  Metadata metadata = record_.EchoedTrace();
  metadata.insert(metadata.begin(), {"latentd-request-id", request_id_});
  return metadata;
}

void LiveCall::Finish(const absl::Status& status, const StreamEnd& end) {
  const SequenceTimings& timings = end.sequence.timings;
  CallFacts& facts = record_.facts();
  facts.generated_tokens = end.answer.output_tokens;
  facts.queue_seconds = SecondsBetween(timings.received, timings.first_scheduled);
  facts.ttft_seconds = SecondsBetween(timings.received, timings.first_token);
  facts.decode_seconds = SecondsBetween(timings.first_token, timings.finished);
  record_.Finish(status, CauseOf(end.reason()));
}

absl::Status LiveCall::StatusOf(EndedRequest ended) const {
  ended.request_id = request_id_;
  ended.rpc_deadline_passed = IsExpired(cancelled_at_, rpc_deadline_);
  return StatusOfEnd(ended);
}

}  // namespace latentd

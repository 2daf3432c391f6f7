#include "server/live_call.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include <absl/strings/str_format.h>

#include "server/outcomes.h"
#include "server/status.h"

namespace latentd {
namespace {

// Pending output of one reader before its sequence pauses: some thousand tokens, far more than a write takes along.
constexpr size_t kMaxPendingBytes = 256 << 10;

// The client's timer runs out as much earlier than ours as its request travelled; gRPC then shows a plain cancellation.
constexpr std::chrono::milliseconds kDeadlineSlack{50};

std::string RandomPrefix() {
  std::random_device device;
  return absl::StrFormat("%08x%08x", device(), device());
}

}  // namespace

CallRecord::CallRecord(Metrics& metrics, std::string_view method)
    : metrics_(metrics),
      method_(method),
      received_(std::chrono::steady_clock::now()),
      phase_(RunsTheModel(method) ? Phase::kQueued : Phase::kOutput) {
  metrics_.Update([this](MetricsData& data) {
    ++data.requests_received[method_];
    ++data.requests_in_flight[static_cast<size_t>(phase_)];
  });
}

void CallRecord::Finish(const absl::Status& status, std::string_view reason) {
  const Outcome outcome{.method = method_,
                        .grpc_code = absl::StatusCodeToString(status.code()),
                        .reason = status.ok() ? std::string(reason) : ReasonOf(status)};
  const double seconds = Seconds(std::chrono::steady_clock::now() - received_);
  metrics_.Update([&](MetricsData& data) {
    ++data.requests_finished[outcome];
    --data.requests_in_flight[static_cast<size_t>(phase_)];
    data.outcomes[outcome.reason].request_seconds.Observe(seconds);
    if (end_) {
      ObserveRun(outcome.reason, data);
    } else if (IsAdmissionReason(outcome.reason)) {
      ++data.admission_rejected[outcome.reason];
    }
  });
}

// A stage that the request did not leave lasted until its end.
void CallRecord::ObserveRun(const std::string& reason, MetricsData& data) const {
  const StreamTimings& at = end_->timings;
  OutcomeTotals& totals = data.outcomes[reason];
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
  if (end_->generated_tokens > 1) {
    const double seconds = Seconds(at.last_token - at.first_token);
    totals.time_per_output_token_seconds.Observe(seconds / (end_->generated_tokens - 1));
  }
  if (at.cancel_asked != kNever) observe(totals.cancel_to_release_seconds, at.cancel_asked, at.released);
  totals.wasted_tokens += WastedTokens(reason, *end_);
  data.prompt_length_tokens.Observe(end_->prompt_tokens);
  if (end_->reason != FinishReason::kScored) data.generation_length_tokens.Observe(end_->output_tokens);
}

RequestNames::RequestNames() : prefix_(RandomPrefix()) {}

bool RequestNames::Claim(const std::string& name) {
  std::lock_guard lock(mutex_);
  return live_.insert(name).second;
}

void RequestNames::Release(const std::string& name) {
  std::lock_guard lock(mutex_);
  live_.erase(name);
}

std::string RequestNames::MakeName(SequenceId id) const { return absl::StrFormat("%s-%d", prefix_, id); }

LiveCall::LiveCall(EngineThread& engine, RequestNames& names, CallRecord record)
    : engine_(engine), names_(names), record_(std::move(record)) {}

LiveCall::~LiveCall() {
  if (!request_id_.empty()) names_.Release(request_id_);
}

absl::Status LiveCall::Submit(ValidRequest request, TimePoint rpc_deadline, TextSink* sink) {
  id_ = engine_.NextSequenceId();
  std::string name = request.request_id.empty() ? names_.MakeName(id_) : request.request_id;
  if (!names_.Claim(name)) return DuplicateRequestId(name);
  request_id_ = std::move(name);
  request_ = std::move(request);
  prompt_tokens_ = static_cast<int>(request_.request.prompt.size());
  rpc_deadline_ = rpc_deadline;
  request_.request.id = id_;
  request_.request.deadline = std::min(request_.request.deadline, rpc_deadline);
  stream_ = std::make_shared<TokenStream>(sink, kMaxPendingBytes, &record_.metrics().stream_backlog_bytes());
  record_.LeavesFrom(Phase::kOutput);
  const std::optional<Refusal> refusal = engine_.Submit(std::move(request_.request), stream_);
  if (!refusal) return absl::OkStatus();
  record_.LeavesFrom(Phase::kQueued);
  return StatusOfRefusal(*refusal, request_id_);
}

void LiveCall::Cancel() {
  cancelled_at_ = std::chrono::steady_clock::now();
  engine_.Cancel(id_);
}

void LiveCall::Detach() {
  if (stream_ != nullptr) stream_->Detach();
}

std::optional<StreamChunk> LiveCall::Take() {
  bool was_full = false;
  std::optional<StreamChunk> chunk = stream_->Take(&was_full);
  if (was_full) engine_.Resume(id_);
  if (chunk && chunk->end) record_.Ran(*chunk->end);
  return chunk;
}

absl::Status LiveCall::StatusOf(const StreamEnd& end) const {
  const TimePoint cancelled_at = cancelled_at_;
  const bool expired =
      rpc_deadline_ != kNever && cancelled_at != kNever && cancelled_at + kDeadlineSlack >= rpc_deadline_;
  return StatusOfEnd({.end = end, .request_id = request_id_, .rpc_deadline_passed = expired});
}

}  // namespace latentd

#include "server/call/call_record.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "base/now.h"
#include "server/api/methods.h"
#include "server/api/outcomes.h"
#include "server/api/status.h"

namespace latentd {
namespace {

// A stage that the request did not leave lasted until its end.
void ObserveRun(Cause cause, const StreamEnd& end, MetricsData& data) {
  const SequenceTimings& at = end.timings;
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
  totals.time_per_output_token_seconds.Add(end.seconds_per_token);
  if (at.preempted > Duration::zero()) totals.preempted_seconds.Observe(Seconds(at.preempted));
  if (at.cancel_asked != kNever) observe(totals.cancel_to_release_seconds, at.cancel_asked, at.released);
  const WastedTokens wasted = WasteOf(cause, end);
  data.outcomes[std::string(RowOf(wasted.cause).reason)].wasted_tokens += wasted.count;
  data.prompt_length_tokens.Observe(end.prompt_tokens);
  if (end.reason != FinishReason::kScored) data.generation_length_tokens.Observe(end.output_tokens);
}

}  // namespace

CallRecord::CallRecord(CallOrigin origin, Metrics& metrics, std::string_view method, SpanQueue* spans)
    : metrics_(metrics),
      method_(method),
      origin_(std::move(origin)),
      received_(Now()),
      spans_(RunsTheModel(method) && IsSampled(origin_.traceparent) ? spans : nullptr),
      phase_(RunsTheModel(method) ? Phase::kQueued : Phase::kOutput) {
  metrics_.Update([this](MetricsData& data) {
    ++data.requests_received[method_];
    data.requests_in_flight.Arrive(phase_);
  });
}

void CallRecord::Finish(const absl::Status& status, Cause success) { Conclude(status, success, nullptr); }

void CallRecord::FinishRun(const absl::Status& status, const StreamEnd& end) {
  const SequenceTimings& timings = end.timings;
  facts_.generated_tokens = end.output_tokens;
  facts_.drafted_tokens = end.drafted_tokens;
  facts_.accepted_tokens = end.accepted_tokens;
  facts_.queue_seconds = SecondsBetween(timings.received, timings.first_scheduled);
  facts_.ttft_seconds = SecondsBetween(timings.received, timings.first_token);
  facts_.decode_seconds = SecondsBetween(timings.first_token, timings.finished);
  Conclude(status, CauseOf(end.reason), &end);
}

void CallRecord::Conclude(const absl::Status& status, Cause success, const StreamEnd* end) {
  // A status that no function of status.h made is a fault of this server.
  const Cause cause = status.ok() ? success : CauseOf(status).value_or(Cause::kEngineFault);
  const Outcome outcome{.method = method_,
                        .grpc_code = absl::StatusCodeToString(status.code()),
                        .reason = std::string(RowOf(cause).reason)};
  const double seconds = Seconds(Now() - received_);
  metrics_.Update([&](MetricsData& data) {
    ++data.requests_finished[outcome];
    data.requests_in_flight.Leave(phase_);
    data.outcomes[outcome.reason].request_seconds.Observe(seconds);
    if (end != nullptr) {
      ObserveRun(cause, *end, data);
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
  if (spans_ != nullptr) Trace(status, cause, end);
}

void CallRecord::Trace(const absl::Status& status, Cause cause, const StreamEnd* end) {
  RequestSpan span{.method = method_,
                   .traceparent = origin_.traceparent,
                   .request_id = facts_.request_id,
                   .tenant = facts_.tenant,
                   .prompt_tokens = facts_.prompt_tokens,
                   .choices = choices_,
                   .received = received_,
                   .ended = Now(),
                   .ended_at = std::chrono::system_clock::now(),
                   .code = status.code(),
                   .cause = cause};
  if (end != nullptr) {
    span.run = SpanRun{.first_scheduled = end->timings.first_scheduled,
                       .first_token = end->timings.first_token,
                       .first_preempted = end->timings.first_preempted,
                       .preempted = end->timings.preempted,
                       .num_preemptions = end->timings.num_preemptions,
                       .cached_tokens = end->cached_tokens,
                       .output_tokens = end->output_tokens};
  }
  spans_->Offer(std::move(span));
}

Metadata CallRecord::EchoedTrace() const {
  if (origin_.traceparent.empty()) return {};
  return {{"traceparent", origin_.traceparent}};
}

}  // namespace latentd

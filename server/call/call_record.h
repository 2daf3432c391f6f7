// One call in the metrics and in the log: counted once when it arrives, counted and logged once when it ends. Owned by
// the Call. Finish is called exactly once, before the client can learn the outcome.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/stream/token_stream.h"
#include "server/api/causes.h"
#include "server/call/call_origin.h"
#include "server/call/request_log.h"
#include "server/call/wire.h"
#include "server/traces/request_span.h"
#include "server/traces/span_queue.h"

namespace latentd {

class CallRecord {
 public:
  // `metrics` and `spans`, if any, must outlive it.
  CallRecord(CallOrigin origin, Metrics& metrics, std::string_view method, SpanQueue* spans = nullptr);

  // Whether a span tells of it: only then is what it asks for of use.
  bool is_traced() const { return spans_ != nullptr; }
  void Asked(const SpanChoices& choices) { choices_ = choices; }
  // The engine took it: it leaves the metrics from the phase that the engine moves every request to in the end.
  void EngineTookIt() { phase_ = Phase::kOutput; }
  // `success` where the status is OK; failures carry their own cause.
  void Finish(const absl::Status& status, Cause success = Cause::kAnswered);
  // The same for a request that the engine ended, whose reason is the success: its latencies and lengths are observed
  // with the outcome.
  void FinishRun(const absl::Status& status, const StreamEnd& end);

  // For the metadata ahead of an answer. Not of a call that was refused: clients' retry policies give up once they see
  // any.
  Metadata EchoedTrace() const;

  TimePoint received() const { return received_; }
  const std::string& peer() const { return origin_.peer; }
  const std::string& method() const { return method_; }
  CallFacts& facts() { return facts_; }
  Metrics& metrics() { return metrics_; }

 private:
  // `end`: null where it did not run.
  void Conclude(const absl::Status& status, Cause success, const StreamEnd* end);

  void Trace(const absl::Status& status, Cause cause, const StreamEnd* end);

  Metrics& metrics_;
  const std::string method_;
  const CallOrigin origin_;
  const TimePoint received_;
  SpanQueue* const spans_;  // null: no span tells of it
  CallFacts facts_;
  std::optional<SpanChoices> choices_;
  Phase phase_;
};

}  // namespace latentd

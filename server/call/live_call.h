// What all RPCs have in common: each is counted once when it arrives, counted and logged once when it ends; those that
// reach the engine have an id there, a stream of output and a name that no other live request has.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/stream/token_stream.h"
#include "server/api/causes.h"
#include "server/api/request_validation.h"
#include "server/api/status.h"
#include "server/call/call_origin.h"
#include "server/call/live_requests.h"
#include "server/call/request_log.h"

namespace latentd {

// Names and values that go ahead of an answer.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// Whether an RPC that gRPC cancelled then had reached its deadline: else it is its client that left.
bool IsExpired(TimePoint cancelled_at, TimePoint rpc_deadline);

// One RPC in the metrics and in the log. Finish must be called exactly once, before the client can learn the outcome.
class CallRecord {
 public:
  CallRecord(CallOrigin origin, Metrics& metrics, std::string_view method);

  // The phase that the request will leave the metrics from: kOutput once the engine has moved it through the others.
  void LeavesFrom(Phase phase) { phase_ = phase; }
  // How the engine ended it, if it came so far: all latencies and lengths are observed with the outcome.
  void Ran(const StreamEnd& end) { end_ = end; }
  // `success` where the status is OK; failures carry their own cause.
  void Finish(const absl::Status& status, Cause success = Cause::kAnswered);

  // For the initial metadata of an RPC that was admitted. Not of one that was refused: clients' retry policies give up
  // once they see initial metadata.
  Metadata EchoedTrace() const;

  TimePoint received() const { return received_; }
  const std::string& peer() const { return origin_.peer; }
  const std::string& method() const { return method_; }
  CallFacts& facts() { return facts_; }
  Metrics& metrics() { return metrics_; }

 private:
  void ObserveRun(Cause cause, MetricsData& data) const;

  Metrics& metrics_;
  const std::string method_;
  const CallOrigin origin_;
  const TimePoint received_;
  CallFacts facts_;
  Phase phase_;
  std::optional<StreamEnd> end_;
};

// A request's way through the engine. Owned by the reactor of its RPC; the name is free again when it goes.
class LiveCall {
 public:
  LiveCall(LiveRequests& live, CallRecord record);
  ~LiveCall();

  // Claims the name and hands the request over; `sink` is woken from then on, perhaps before this returns.
  absl::Status Submit(ValidRequest request, TimePoint rpc_deadline, TextSink* sink);
  // The client went away or the RPC's deadline passed. Any thread.
  void Cancel();
  // No wake after this.
  void Detach();

  std::optional<StreamChunk> Take();
  bool has_end() const { return stream_->has_end(); }

  const std::string& request_id() const { return request_id_; }
  const ValidRequest& request() const { return request_; }  // its prompt and parameters moved on
  int prompt_tokens() const { return prompt_tokens_; }
  CallRecord& record() { return record_; }

  // Request id and trace, for the client to see before the first message.
  Metadata InitialMetadata() const;

  // `ended` without what this call knows of itself.
  absl::Status StatusOf(EndedRequest ended) const;
  // The record's Finish, for a request that the engine ended.
  void Finish(const absl::Status& status, const StreamEnd& end);

 private:
  LiveRequests& live_;
  CallRecord record_;
  ValidRequest request_;
  RequestId id_ = 0;
  std::string request_id_;
  int prompt_tokens_ = 0;
  TimePoint rpc_deadline_ = kNever;
  std::atomic<TimePoint> cancelled_at_{kNever};
  std::shared_ptr<TokenStream> stream_;
};

}  // namespace latentd

// latentd.v1.Admin: operators' questions and commands. It has no authentication, so it is served on an address of its
// own, or not at all. Never waits for the engine.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "latentd/v1/admin.pb.h"
#include "server/admin/admin_stream.h"
#include "server/admin/load_monitor.h"
#include "server/api/message_bytes.h"
#include "server/call/serving_gate.h"
#include "server/config/config.h"
#include "server/config/knobs.h"
#include "server/grpc/byte_service.h"
#include "server/process/drain_state.h"
#include "server/process/signals.h"

namespace latentd {

class AdminService final : public ByteService {
 public:
  // All outlive the server that the service is registered with.
  struct Parts {
    const ServingGate& gate;
    const LoadMonitor& load;
    DrainState& drain;
    StopRequest& stop;
    double drain_seconds = 0.0;
  };
  // The egress of `rpc` is this service's alone: its streams delay no answer.
  AdminService(const Parts& parts, const CallParts& rpc, std::vector<KnobValue> knobs);

  // What was left to the daemon is decided.
  void Resolve(const DerivedKnobs& derived);
  // The drain moved on: its streams, and those that end with it, look at it now.
  void WakeStreams() { streams_.WakeAll(); }

 private:
  template <class Result>
  using Answer = absl::StatusOr<Result> (AdminService::*)(MessageBytes bytes);
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);
  using Open = absl::StatusOr<AdminStream::Source> (AdminService::*)(MessageBytes bytes);
  void RegisterStream(const std::string& method, Open open);

  absl::StatusOr<v1::AbortResult> Abort(MessageBytes bytes);
  absl::StatusOr<v1::Load> GetLoad(MessageBytes bytes);
  absl::StatusOr<v1::Configuration> GetConfig(MessageBytes bytes);
  absl::StatusOr<v1::SetLogLevelResult> SetLogLevel(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> Drain(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> WatchLoad(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> DumpFlightRecorder(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> ProfileSteps(MessageBytes bytes);

  LiveRequests* FindLive() const;  // null while the model loads: there are no requests then
  v1::Load ReadLoad() const;
  AdminStream::Source DrainSource();
  AdminStream::Source LoadSource(Duration interval);

  const Parts parts_;
  const CallParts rpc_;
  OpenStreams streams_;
  std::mutex mutex_;
  std::vector<KnobValue> knobs_;  // guarded by mutex_
};

}  // namespace latentd

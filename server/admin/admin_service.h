// latentd.v1.Admin: what operators ask and do. Served on an address of its own, or not at all: it authenticates nobody.
// Never waits for the engine.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <grpcpp/support/byte_buffer.h>

#include "latentd/v1/admin.pb.h"
#include "server/admin/admin_stream.h"
#include "server/admin/load_monitor.h"
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
  AdminService(const Parts& parts, const RpcParts& rpc, std::vector<KnobValue> knobs);

  // What was left to the daemon is decided.
  void Resolve(const DerivedKnobs& derived);
  // The drain moved on: its streams, and those that end with it, look at it now.
  void WakeStreams() { streams_.WakeAll(); }

 private:
  using Bytes = grpc::ByteBuffer;
  template <class Result>
  using Answer = absl::StatusOr<Result> (AdminService::*)(const Bytes& bytes);
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);
  using Open = absl::StatusOr<AdminStream::Source> (AdminService::*)(const Bytes& bytes);
  void RegisterStream(const std::string& method, Open open);

  absl::StatusOr<v1::AbortResult> Abort(const Bytes& bytes);
  absl::StatusOr<v1::Load> GetLoad(const Bytes& bytes);
  absl::StatusOr<v1::FlushPrefixCacheResult> FlushPrefixCache(const Bytes& bytes);
  absl::StatusOr<v1::Configuration> GetConfig(const Bytes& bytes);
  absl::StatusOr<v1::SetLogLevelResult> SetLogLevel(const Bytes& bytes);
  absl::StatusOr<AdminStream::Source> Drain(const Bytes& bytes);
  absl::StatusOr<AdminStream::Source> WatchLoad(const Bytes& bytes);
  absl::StatusOr<AdminStream::Source> DumpFlightRecorder(const Bytes& bytes);

  LiveRequests* FindLive() const;  // null while the model loads: there are no requests then
  v1::Load ReadLoad() const;
  AdminStream::Source DrainSource();
  AdminStream::Source LoadSource(Duration interval);

  const Parts parts_;
  const RpcParts rpc_;
  OpenStreams streams_;
  std::mutex mutex_;
  std::vector<KnobValue> knobs_;  // guarded by mutex_
};

}  // namespace latentd

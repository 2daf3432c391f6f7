// latentd.v1.Admin: what operators ask and do. Served on an address of its own, or not at all: it authenticates nobody.
// Never waits for the engine.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/metrics.h"
#include "latentd/v1/admin.grpc.pb.h"
#include "server/admin_stream.h"
#include "server/config.h"
#include "server/drain_state.h"
#include "server/load_model.h"
#include "server/load_monitor.h"
#include "server/serving_gate.h"
#include "server/signals.h"

namespace latentd {

// Raw methods get the bytes of requests, see server/wire_message.h.
template <class Base>
using RawAdmin = v1::Admin::WithRawCallbackMethod_Abort<v1::Admin::WithRawCallbackMethod_Drain<
    v1::Admin::WithRawCallbackMethod_GetLoad<v1::Admin::WithRawCallbackMethod_WatchLoad<
        v1::Admin::WithRawCallbackMethod_ListRequests<v1::Admin::WithRawCallbackMethod_FlushPrefixCache<
            v1::Admin::WithRawCallbackMethod_GetConfig<v1::Admin::WithRawCallbackMethod_SetLogLevel<
                v1::Admin::WithRawCallbackMethod_DumpFlightRecorder<Base>>>>>>>>>;

class AdminService final : public RawAdmin<v1::Admin::Service> {
 public:
  // All outlive the server that the service is registered with.
  struct Parts {
    const ServingGate& gate;
    Metrics& metrics;
    const LoadMonitor& load;
    DrainState& drain;
    StopRequest& stop;
    Egress& egress;  // of this service alone: its streams delay no answer
    double drain_seconds = 0.0;
  };
  AdminService(const Parts& parts, std::vector<KnobValue> knobs)
      : parts_(parts), streams_(parts.egress), knobs_(std::move(knobs)) {}

  // What was left to the daemon is decided.
  void Resolve(const LoadedModel& loaded);
  // The drain moved on: its streams, and those that end with it, look at it now.
  void WakeStreams() { streams_.WakeAll(); }

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerUnaryReactor* Abort(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerWriteReactor<Bytes>* Drain(Context* context, const Bytes* request) override;
  grpc::ServerUnaryReactor* GetLoad(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerWriteReactor<Bytes>* WatchLoad(Context* context, const Bytes* request) override;
  grpc::ServerUnaryReactor* ListRequests(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerUnaryReactor* FlushPrefixCache(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerUnaryReactor* GetConfig(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerWriteReactor<Bytes>* DumpFlightRecorder(Context* context, const Bytes* request) override;

 private:
  LiveRequests* FindLive() const;  // null while the model loads: there are no requests then
  v1::Load ReadLoad() const;
  absl::StatusOr<v1::AbortResult> AbortNow(const Bytes& bytes);
  absl::StatusOr<v1::SetLogLevelResult> SetLogLevelNow(const Bytes& bytes);
  AdminStream::Source DrainSource();
  AdminStream::Source LoadSource(Duration interval);

  const Parts parts_;
  OpenStreams streams_;
  std::mutex mutex_;
  std::vector<KnobValue> knobs_;  // guarded by mutex_
};

}  // namespace latentd

// vllm.grpc.engine.VllmEngine, by which the gateway smg drives this server (docs/workers.md): which call each of its
// methods is. Generate goes through the same admission and the same pump as latentd.v1's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "server/admin/admin_stream.h"
#include "server/admin/load_monitor.h"
#include "server/api/message_bytes.h"
#include "server/call/admission.h"
#include "server/call/immediate_call.h"
#include "server/call/serving_gate.h"
#include "server/config/config.h"
#include "server/grpc/byte_service.h"
#include "server/grpc/rpc.h"
#include "server/process/serving_state.h"
#include "server/smg/tokenizer_archive.h"
#include "smg/common.pb.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {

class VllmEngineService final : public ByteService {
 public:
  static constexpr char kName[] = "vllm.grpc.engine.VllmEngine";

  // All outlive the server that the service is registered with.
  struct Parts {
    const ServingGate& gate;
    const ServingState& state;
    const Config& config;
    Metrics& metrics;
  };
  VllmEngineService(const Parts& parts, const CallParts& calls);

  // From here on Generate is refused with DRAINING, and the streams of events end.
  void StopAdmitting();

 private:
  template <class Result>
  using Answer = absl::StatusOr<Result> (VllmEngineService::*)(MessageBytes bytes);
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);
  RpcReactor* StartGenerate(grpc::CallbackServerContext& context);

  absl::StatusOr<vllm::grpc::engine::HealthCheckResponse> HealthCheck(MessageBytes bytes);
  absl::StatusOr<vllm::grpc::engine::AbortResponse> Abort(MessageBytes bytes);
  absl::StatusOr<vllm::grpc::engine::GetModelInfoResponse> GetModelInfo(MessageBytes bytes);
  absl::StatusOr<vllm::grpc::engine::GetServerInfoResponse> GetServerInfo(MessageBytes bytes);
  absl::StatusOr<vllm::grpc::engine::GetLoadsResponse> GetLoads(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> GetTokenizer(MessageBytes bytes);
  absl::StatusOr<AdminStream::Source> SubscribeKvEvents(MessageBytes bytes);
  using Open = absl::StatusOr<AdminStream::Source> (VllmEngineService::*)(MessageBytes bytes);
  void RegisterStream(const std::string& method, OpenStreams& streams, Open open);

  vllm::grpc::engine::SchedulerLoad ReadLoad();

  const Parts parts_;
  const CallParts calls_;
  const TimePoint started_;
  Admission admission_;
  OpenStreams tokenizer_streams_;
  OpenStreams event_streams_;  // woken by what happens
  std::atomic<bool> is_draining_ = false;
  TokenizerArchive tokenizer_;
  std::atomic<double> last_receive_seconds_ = 0.0;  // since the epoch
  std::once_flag has_load_;
  std::unique_ptr<LoadMonitor> load_;  // once it was asked for: it samples once a second
};

}  // namespace latentd

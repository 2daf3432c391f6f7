// latentd.v1.Generation: step 1 of a request's life. Parses, validates, encodes and submits on the work pool; the
// answer is then the writers' business. Never waits for the engine.
#pragma once

#include <atomic>
#include <string>

#include <grpcpp/support/byte_buffer.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/request_validation.h"
#include "server/api/served_model.h"
#include "server/call/serving_gate.h"
#include "server/grpc/byte_service.h"
#include "server/grpc/immediate_rpc.h"
#include "server/grpc/rpc.h"

namespace latentd {

class GenerationService final : public ByteService {
 public:
  // All references outlive the server that the service is registered with.
  GenerationService(const ServingGate& gate, const RpcParts& parts);

  // From here on every method is refused with DRAINING, and so are requests that are still being received.
  void StopAdmitting();

 private:
  // From the bytes to what the engine runs. Message is GenerateRequest, ChatRequest or ScoreRequest.
  template <class Message>
  absl::StatusOr<ValidRequest> Admit(MessageBytes bytes, const ServedModel& model, TimePoint received) const;
  // Writer is StreamWriter or a UnaryWriter.
  template <class Message, class Writer>
  void RegisterRun(const std::string& method);
  template <class Result>
  using Answer = absl::StatusOr<Result> (GenerationService::*)(MessageBytes bytes, const ReserveRoom& reserve) const;
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);

  absl::StatusOr<v1::TokenizeResult> TokenizeNow(MessageBytes bytes, const ReserveRoom& reserve) const;
  absl::StatusOr<v1::DetokenizeResult> DetokenizeNow(MessageBytes bytes, const ReserveRoom& reserve) const;
  // The model, while there is one to serve.
  absl::StatusOr<const ModelInService*> FindModel() const;

  const ServingGate& gate_;
  const RpcParts parts_;
  std::atomic<bool> is_draining_ = false;
};

}  // namespace latentd

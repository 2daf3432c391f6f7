// latentd.v1.Generation: which call each of its methods is. Admission and the calls do the work (server/call).
#pragma once

#include <string>

#include <grpcpp/support/byte_buffer.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/call/admission.h"
#include "server/call/immediate_call.h"
#include "server/call/serving_gate.h"
#include "server/grpc/byte_service.h"
#include "server/grpc/rpc.h"

namespace latentd {

class GenerationService final : public ByteService {
 public:
  // All references outlive the server that the service is registered with.
  GenerationService(const ServingGate& gate, const CallParts& parts);

  // From here on every method is refused with DRAINING, and so are requests that are still being received.
  void StopAdmitting();

 private:
  // Message is GenerateRequest, ChatRequest or ScoreRequest, AnyRendering what its answers are made by.
  template <class Message, class AnyRendering>
  void RegisterRun(const std::string& method);
  template <class Result>
  using Answer = absl::StatusOr<Result> (*)(const Admission& admission, MessageBytes bytes, const ReserveRoom& reserve);
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);

  Admission admission_;
  const CallParts parts_;
};

}  // namespace latentd

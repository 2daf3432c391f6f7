// latentd.v1.Generation: step 1 of a request's life. Parses, validates, encodes and submits on gRPC's threads; the
// answer is then the writers' business. Never waits for the engine.
#pragma once

#include <atomic>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/metrics.h"
#include "latentd/v1/generation.grpc.pb.h"
#include "server/egress.h"
#include "server/request_validation.h"
#include "server/served_model.h"
#include "server/serving_gate.h"

namespace latentd {

// Raw methods get the bytes of requests, see server/wire_message.h.
template <class Base>
using RawGeneration = v1::Generation::WithRawCallbackMethod_Generate<v1::Generation::WithRawCallbackMethod_GenerateOnce<
    v1::Generation::WithRawCallbackMethod_Chat<v1::Generation::WithRawCallbackMethod_Score<
        v1::Generation::WithRawCallbackMethod_Tokenize<v1::Generation::WithRawCallbackMethod_Detokenize<Base>>>>>>;

class GenerationService final : public RawGeneration<v1::Generation::Service> {
 public:
  // All references outlive the server that the service is registered with.
  GenerationService(const ServingGate& gate, Egress& egress, Metrics& metrics)
      : gate_(gate), egress_(egress), metrics_(metrics) {}

  // From here on every method is refused with DRAINING.
  void StopAdmitting() { is_draining_ = true; }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* GenerateOnce(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Chat(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  // Bytes to what the engine runs. Message is GenerateRequest, ChatRequest or ScoreRequest.
  template <class Message>
  absl::StatusOr<ValidRequest> Admit(const grpc::ByteBuffer& bytes, const ServedModel& model, TimePoint received) const;
  template <class Message>
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Stream(grpc::CallbackServerContext& context,
                                                     const grpc::ByteBuffer& bytes, std::string_view method);
  template <class Message, class Result>
  grpc::ServerUnaryReactor* Collect(grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes,
                                    grpc::ByteBuffer& response, std::string_view method);

  absl::StatusOr<v1::TokenizeResult> TokenizeNow(const grpc::ByteBuffer& bytes) const;
  absl::StatusOr<v1::DetokenizeResult> DetokenizeNow(const grpc::ByteBuffer& bytes) const;
  // The model, while there is one to serve.
  absl::StatusOr<const ServedModel*> FindModel() const;

  const ServingGate& gate_;
  Egress& egress_;
  Metrics& metrics_;
  std::atomic<bool> is_draining_ = false;
};

}  // namespace latentd

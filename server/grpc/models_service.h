// latentd.v1.Models: what is served.
#pragma once

#include <string>

#include <absl/status/statusor.h>
#include <grpcpp/support/byte_buffer.h>

#include "latentd/v1/models.pb.h"
#include "server/api/message_bytes.h"
#include "server/call/serving_gate.h"
#include "server/grpc/byte_service.h"
#include "server/grpc/rpc.h"

namespace latentd {

class ModelsService final : public ByteService {
 public:
  // All references outlive the server that the service is registered with.
  ModelsService(const ServingGate& gate, const CallParts& parts);

 private:
  template <class Result>
  using Answer = absl::StatusOr<Result> (ModelsService::*)(MessageBytes bytes) const;
  template <class Result>
  void RegisterAnswer(const std::string& method, Answer<Result> answer);

  absl::StatusOr<v1::Model> GetModel(MessageBytes bytes) const;
  absl::StatusOr<v1::ListModelsResult> ListModels(MessageBytes bytes) const;

  absl::StatusOr<v1::Model> FindModel() const;

  const ServingGate& gate_;
  const CallParts parts_;
};

}  // namespace latentd

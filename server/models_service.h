// latentd.v1.Models: what is served.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/metrics.h"
#include "latentd/v1/models.grpc.pb.h"
#include "server/serving_gate.h"

namespace latentd {

class ModelsService final : public v1::Models::WithRawCallbackMethod_GetModel<
                                v1::Models::WithRawCallbackMethod_ListModels<v1::Models::Service>> {
 public:
  // Both references outlive the server that the service is registered with.
  ModelsService(const ServingGate& gate, Metrics& metrics) : gate_(gate), metrics_(metrics) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  absl::StatusOr<v1::Model> FindModel() const;

  const ServingGate& gate_;
  Metrics& metrics_;
};

}  // namespace latentd

#include "server/models_service.h"

#include <utility>

#include <absl/status/statusor.h>

#include "server/immediate_answer.h"
#include "server/status.h"
#include "server/wire_message.h"

namespace latentd {

absl::StatusOr<v1::Model> ModelsService::FindModel() const {
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return gate_.Loading();
  return serving->model.description;
}

// Both answer while the server drains, too: they cost nothing and a router may still want to know.
grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  CallRecord record(*context, metrics_, "GetModel");
  const auto answer = [&]() -> absl::StatusOr<v1::Model> {
    v1::GetModelRequest message;
    if (absl::Status status = ParseMessage(*request, &message); !status.ok()) return status;
    absl::StatusOr<v1::Model> model = FindModel();
    if (!model.ok() || !message.has_model() || message.model() == model->name()) return model;
    return ModelNotFound(message.model(), model->name());
  };
  return AnswerNow(*context, std::move(record), answer(), *response);
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  CallRecord record(*context, metrics_, "ListModels");
  const auto answer = [&]() -> absl::StatusOr<v1::ListModelsResult> {
    v1::ListModelsRequest message;
    if (absl::Status status = ParseMessage(*request, &message); !status.ok()) return status;
    absl::StatusOr<v1::Model> model = FindModel();
    if (!model.ok()) return model.status();
    v1::ListModelsResult result;
    *result.add_models() = *std::move(model);
    return result;
  };
  return AnswerNow(*context, std::move(record), answer(), *response);
}

}  // namespace latentd

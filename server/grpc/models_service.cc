#include "server/grpc/models_service.h"

#include <functional>
#include <utility>

#include "server/api/request_validation.h"
#include "server/api/wire_message.h"
#include "server/call/immediate_call.h"

namespace latentd {

// Both answer while the server drains, too: they cost nothing and a router may still want to know.
ModelsService::ModelsService(const ServingGate& gate, const CallParts& parts)
    : ByteService(*v1::Model::descriptor()->file()->FindServiceByName("Models")), gate_(gate), parts_(parts) {
  RegisterAnswer("GetModel", &ModelsService::GetModel);
  RegisterAnswer("ListModels", &ModelsService::ListModels);
  CheckComplete();
}

template <class Result>
void ModelsService::RegisterAnswer(const std::string& method, Answer<Result> answer) {
  Register(method, [this, method, answer](grpc::CallbackServerContext* context) {
    return StartRpc<ImmediateCall<Result>>(*context, parts_, method, std::bind_front(answer, this));
  });
}

absl::StatusOr<v1::Model> ModelsService::FindModel() const {
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return gate_.Loading();
  return serving->model.description;
}

absl::StatusOr<v1::Model> ModelsService::GetModel(MessageBytes bytes) const {
  const absl::StatusOr<v1::GetModelRequest> message = ParseAs<v1::GetModelRequest>(bytes);
  if (!message.ok()) return message.status();
  absl::StatusOr<v1::Model> model = FindModel();
  if (!model.ok()) return model;
  if (absl::Status status = CheckFields(*message, *model); !status.ok()) return status;
  return model;
}

absl::StatusOr<v1::ListModelsResult> ModelsService::ListModels(MessageBytes bytes) const {
  if (absl::Status status = ParseAs<v1::ListModelsRequest>(bytes).status(); !status.ok()) return status;
  absl::StatusOr<v1::Model> model = FindModel();
  if (!model.ok()) return model.status();
  v1::ListModelsResult result;
  *result.add_models() = *std::move(model);
  return result;
}

}  // namespace latentd

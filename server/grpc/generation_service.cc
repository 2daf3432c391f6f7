#include "server/grpc/generation_service.h"

#include <functional>
#include <memory>
#include <utility>

#include "server/api/v1_renderings.h"
#include "server/call/engine_call.h"
#include "server/call/text_calls.h"

namespace latentd {

GenerationService::GenerationService(const ServingGate& gate, const CallParts& parts)
    : ByteService(*v1::GenerateRequest::descriptor()->file()->FindServiceByName("Generation")),
      admission_(gate),
      parts_(parts) {
  RegisterRun<v1::GenerateRequest, EventStream>("Generate");
  RegisterRun<v1::GenerateRequest, WholeResult>("GenerateOnce");
  RegisterRun<v1::ChatRequest, EventStream>("Chat");
  RegisterRun<v1::ScoreRequest, ScoredPrompt>("Score");
  RegisterAnswer("Tokenize", AnswerTokenize);
  RegisterAnswer("Detokenize", AnswerDetokenize);
  CheckComplete();
}

void GenerationService::StopAdmitting() {
  admission_.Stop();
  parts_.intake.Close();
}

// A request that is to be refused whatever it says is not received.
template <class Message, class AnyRendering>
void GenerationService::RegisterRun(const std::string& method) {
  Register(method, [this, method](grpc::CallbackServerContext* context) -> RpcReactor* {
    const absl::StatusOr<const ModelInService*> serving = admission_.FindModel();
    if (!serving.ok()) return RefuseUnread(*context, parts_, method, serving.status());
    return StartRpc<EngineCall>(
        *context, parts_, method, (*serving)->model.description,
        [this](MessageBytes bytes, const AdmissionRequest& arrival) {
          return admission_.Admit<Message>(bytes, arrival);
        },
        std::make_unique<AnyRendering>());
  });
}

template <class Result>
void GenerationService::RegisterAnswer(const std::string& method, Answer<Result> answer) {
  Register(method, [this, method, answer](grpc::CallbackServerContext* context) -> RpcReactor* {
    const absl::StatusOr<const ModelInService*> serving = admission_.FindModel();
    if (!serving.ok()) return RefuseUnread(*context, parts_, method, serving.status());
    return StartRpc<ImmediateCall<Result>>(*context, parts_, method, std::bind_front(answer, std::cref(admission_)));
  });
}

}  // namespace latentd

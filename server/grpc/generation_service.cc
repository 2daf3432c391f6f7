#include "server/grpc/generation_service.h"

#include <functional>
#include <memory>
#include <utility>

#include "server/api/answer_limit.h"
#include "server/api/prompt.h"
#include "server/api/status.h"
#include "server/api/v1_renderings.h"
#include "server/call/engine_call.h"

namespace latentd {

GenerationService::GenerationService(const ServingGate& gate, const CallParts& parts)
    : ByteService(*v1::GenerateRequest::descriptor()->file()->FindServiceByName("Generation")),
      admission_(gate),
      parts_(parts) {
  RegisterRun<v1::GenerateRequest, EventStream>("Generate");
  RegisterRun<v1::GenerateRequest, WholeResult>("GenerateOnce");
  RegisterRun<v1::ChatRequest, EventStream>("Chat");
  RegisterRun<v1::ScoreRequest, ScoredPrompt>("Score");
  RegisterAnswer("Tokenize", &GenerationService::TokenizeNow);
  RegisterAnswer("Detokenize", &GenerationService::DetokenizeNow);
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
    return StartRpc<ImmediateCall<Result>>(*context, parts_, method, std::bind_front(answer, this));
  });
}

absl::StatusOr<v1::TokenizeResult> GenerationService::TokenizeNow(MessageBytes bytes,
                                                                  const ReserveRoom& reserve) const {
  const absl::StatusOr<const ModelInService*> found = admission_.FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  const absl::StatusOr<v1::TokenizeRequest> parsed = admission_.Parse<v1::TokenizeRequest>(bytes, model);
  if (!parsed.ok()) return parsed.status();
  const v1::TokenizeRequest& message = *parsed;
  v1::TokenizeResult result;
  absl::StatusOr<EncodedPrompt> prompt = EncodedPrompt{};
  if (message.has_chat()) {
    absl::StatusOr<ChatPrompt> chat = EncodeChat(message.chat(), "chat.", model);
    if (!chat.ok()) return chat.status();
    result.set_rendered(std::move(chat->rendered));
    prompt = std::move(chat->prompt);
  } else {
    prompt = EncodeText("text", message.text(), EncodingOf(message), model);
  }
  if (!prompt.ok()) return prompt.status();
  const size_t num_bytes = TokenizeResultBytes(result.rendered().size(), prompt->ids, *model.tokenizer);
  if (absl::Status status = reserve(num_bytes, prompt->field); !status.ok()) return status;
  for (const int32_t id : prompt->ids) {
    result.add_token_ids(static_cast<uint32_t>(id));
    result.add_token_bytes(std::string(model.tokenizer->TokenBytes(id)));
  }
  return result;
}

absl::StatusOr<v1::DetokenizeResult> GenerationService::DetokenizeNow(MessageBytes bytes,
                                                                      const ReserveRoom& reserve) const {
  const absl::StatusOr<const ModelInService*> found = admission_.FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  const absl::StatusOr<v1::DetokenizeRequest> parsed = admission_.Parse<v1::DetokenizeRequest>(bytes, model);
  if (!parsed.ok()) return parsed.status();
  const v1::DetokenizeRequest& message = *parsed;
  if (model.tokenizer == nullptr) return NoTokenizer("Detokenize");
  const bool skips = !message.has_skip_special_tokens() || message.skip_special_tokens();
  const SpecialText special_text = skips ? SpecialText::kSkip : SpecialText::kPrint;
  const std::vector<int32_t> ids(message.token_ids().begin(), message.token_ids().end());
  const size_t num_bytes = LeastDetokenizeResultBytes(ids, special_text, *model.tokenizer);
  if (absl::Status status = reserve(num_bytes, "token_ids"); !status.ok()) return status;
  v1::DetokenizeResult result;
  result.set_text(model.tokenizer->Decode(ids, special_text));
  return result;
}

}  // namespace latentd

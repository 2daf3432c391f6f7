#include "server/grpc/generation_service.h"

#include <functional>
#include <utility>

#include "server/api/answer_limit.h"
#include "server/api/prompt.h"
#include "server/api/request_bounds.h"
#include "server/api/request_validation.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "server/grpc/stream_writer.h"
#include "server/grpc/unary_writer.h"

namespace latentd {
namespace {

absl::StatusOr<ValidRequest> MakeFrom(const v1::GenerateRequest& message, const ServedModel& model,
                                      TimePoint received) {
  if (absl::Status status = CheckMasks(message, model); !status.ok()) return status;
  absl::StatusOr<EncodedPrompt> prompt = EncodePrompt(message, model);
  if (!prompt.ok()) return prompt.status();
  return MakeRequest(message, model.description, *std::move(prompt), received);
}

absl::StatusOr<ValidRequest> MakeFrom(const v1::ChatRequest& message, const ServedModel& model, TimePoint received) {
  const v1::GenerateRequest groups = GroupsOf(message);
  if (absl::Status status = CheckMasks(groups, model); !status.ok()) return status;
  absl::StatusOr<ChatPrompt> chat = EncodeChat(ChatInputOf(message), "", model);
  if (!chat.ok()) return chat.status();
  const ChatAnswer answer = ChatAnswerOf(message, chat->prompt.ids, model);
  absl::StatusOr<ValidRequest> valid = MakeRequest(groups, model.description, std::move(chat->prompt), received);
  if (valid.ok()) valid->request.answer.chat = answer;
  return valid;
}

absl::StatusOr<ValidRequest> MakeFrom(const v1::ScoreRequest& message, const ServedModel& model, TimePoint received) {
  absl::StatusOr<EncodedPrompt> prompt = EncodePrompt(message, model);
  if (!prompt.ok()) return prompt.status();
  return MakeRequest(message, model.description, *std::move(prompt), received);
}

ModelBounds BoundsOf(const v1::Model& model) {
  return {.vocab_size = model.vocab_size(), .max_context_tokens = model.limits().max_context_tokens()};
}

}  // namespace

GenerationService::GenerationService(const ServingGate& gate, const RpcParts& parts)
    : ByteService(*v1::GenerateRequest::descriptor()->file()->FindServiceByName("Generation")),
      gate_(gate),
      parts_(parts) {
  RegisterRun<v1::GenerateRequest, StreamWriter>("Generate");
  RegisterRun<v1::GenerateRequest, UnaryWriter<v1::GenerateResult>>("GenerateOnce");
  RegisterRun<v1::ChatRequest, StreamWriter>("Chat");
  RegisterRun<v1::ScoreRequest, UnaryWriter<v1::ScoreResult>>("Score");
  RegisterAnswer("Tokenize", &GenerationService::TokenizeNow);
  RegisterAnswer("Detokenize", &GenerationService::DetokenizeNow);
  CheckComplete();
}

void GenerationService::StopAdmitting() {
  is_draining_ = true;
  parts_.intake.Close();
}

absl::StatusOr<const ModelInService*> GenerationService::FindModel() const {
  if (is_draining_) return Draining();
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return gate_.Loading();
  return serving;
}

template <class Message>
absl::StatusOr<ValidRequest> GenerationService::Admit(MessageBytes bytes, const ServedModel& model,
                                                      TimePoint received) const {
  if (is_draining_) return Draining();
  Message message;
  if (absl::Status status = ParseMessage(bytes, BoundsOf(model.description), &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, model.description); !status.ok()) return status;
  return MakeFrom(message, model, received);
}

// A request that is to be refused whatever it says is not received.
template <class Message, class Writer>
void GenerationService::RegisterRun(const std::string& method) {
  Register(method, [this, method](grpc::CallbackServerContext* context) -> RpcReactor* {
    const absl::StatusOr<const ModelInService*> serving = FindModel();
    if (!serving.ok()) return RefuseUnread(*context, parts_, method, serving.status());
    const ServedModel& model = (*serving)->model;
    EngineRpcParts engine_parts{.method = method,
                                .model = model.description,
                                .live = (*serving)->live,
                                .admit = [this, &model](MessageBytes bytes, TimePoint received) {
                                  return Admit<Message>(bytes, model, received);
                                }};
    return Received<Writer>(*context, parts_, std::move(engine_parts));
  });
}

template <class Result>
void GenerationService::RegisterAnswer(const std::string& method, Answer<Result> answer) {
  Register(method, [this, method, answer](grpc::CallbackServerContext* context) -> RpcReactor* {
    const absl::StatusOr<const ModelInService*> serving = FindModel();
    if (!serving.ok()) return RefuseUnread(*context, parts_, method, serving.status());
    return Received<ImmediateRpc<Result>>(*context, parts_, method, std::bind_front(answer, this));
  });
}

absl::StatusOr<v1::TokenizeResult> GenerationService::TokenizeNow(MessageBytes bytes,
                                                                  const ReserveRoom& reserve) const {
  const absl::StatusOr<const ModelInService*> found = FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  v1::TokenizeRequest message;
  if (absl::Status status = ParseMessage(bytes, BoundsOf(model.description), &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, model.description); !status.ok()) return status;
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
  const absl::StatusOr<const ModelInService*> found = FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  v1::DetokenizeRequest message;
  if (absl::Status status = ParseMessage(bytes, BoundsOf(model.description), &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, model.description); !status.ok()) return status;
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

#include "server/generation_service.h"

#include <chrono>
#include <utility>

#include "server/immediate_answer.h"
#include "server/live_call.h"
#include "server/prompt.h"
#include "server/request_bounds.h"
#include "server/request_validation.h"
#include "server/status.h"
#include "server/stream_writer.h"
#include "server/unary_writer.h"
#include "server/wire_message.h"

namespace latentd {
namespace {

TimePoint DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  const auto now = std::chrono::system_clock::now();
  if (deadline - now > std::chrono::hours(24 * 365)) return kNever;  // none was set
  return std::chrono::steady_clock::now() + (deadline - now);
}

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
  if (valid.ok()) valid->request.chat_answer = answer;
  return valid;
}

absl::StatusOr<ValidRequest> MakeFrom(const v1::ScoreRequest& message, const ServedModel& model, TimePoint received) {
  absl::StatusOr<EncodedPrompt> prompt = EncodePrompt(message, model);
  if (!prompt.ok()) return prompt.status();
  return MakeRequest(message, model.description, *std::move(prompt), received);
}

// A stream that ends before the model has anything to do with it.
class RefusedStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

ModelBounds BoundsOf(const v1::Model& model) {
  return {.vocab_size = model.vocab_size(), .max_context_tokens = model.limits().max_context_tokens()};
}

}  // namespace

template <class Message>
absl::StatusOr<ValidRequest> GenerationService::Admit(const grpc::ByteBuffer& bytes, const ServedModel& model,
                                                      TimePoint received) const {
  if (is_draining_) return Draining();
  Message message;
  if (absl::Status status = ParseMessage(bytes, BoundsOf(model.description), &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, model.description); !status.ok()) return status;
  return MakeFrom(message, model, received);
}

template <class Message>
grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Stream(grpc::CallbackServerContext& context,
                                                                      const grpc::ByteBuffer& bytes,
                                                                      std::string_view method) {
  CallRecord record(context, metrics_, method);
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) {
    const absl::Status loading = gate_.Loading();
    record.Finish(loading);
    return new RefusedStream(ToGrpcStatus(loading, context));
  }
  const ServedModel& model = serving->model;
  auto* writer = new StreamWriter(context, egress_, model.description, serving->live);
  absl::StatusOr<ValidRequest> request = Admit<Message>(bytes, model, record.received());
  if (request.ok()) {
    writer->Start(std::move(record), *std::move(request), DeadlineOf(context));
  } else {
    writer->Refuse(std::move(record), request.status());
  }
  return writer;
}

template <class Message, class Result>
grpc::ServerUnaryReactor* GenerationService::Collect(grpc::CallbackServerContext& context,
                                                     const grpc::ByteBuffer& bytes, grpc::ByteBuffer& response,
                                                     std::string_view method) {
  CallRecord record(context, metrics_, method);
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) {
    return AnswerNow(context, std::move(record), absl::StatusOr<Result>(gate_.Loading()), response);
  }
  const ServedModel& model = serving->model;
  auto* writer = new UnaryWriter<Result>(context, egress_, model.description, response);
  absl::StatusOr<ValidRequest> request = Admit<Message>(bytes, model, record.received());
  if (request.ok()) {
    writer->Start(std::move(record), *std::move(request), DeadlineOf(context), serving->live);
  } else {
    writer->Refuse(std::move(record), request.status());
  }
  return writer;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Generate(grpc::CallbackServerContext* context,
                                                                        const grpc::ByteBuffer* request) {
  return Stream<v1::GenerateRequest>(*context, *request, "Generate");
}

grpc::ServerUnaryReactor* GenerationService::GenerateOnce(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Collect<v1::GenerateRequest, v1::GenerateResult>(*context, *request, *response, "GenerateOnce");
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Chat(grpc::CallbackServerContext* context,
                                                                    const grpc::ByteBuffer* request) {
  return Stream<v1::ChatRequest>(*context, *request, "Chat");
}

grpc::ServerUnaryReactor* GenerationService::Score(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Collect<v1::ScoreRequest, v1::ScoreResult>(*context, *request, *response, "Score");
}

absl::StatusOr<const ServedModel*> GenerationService::FindModel() const {
  if (is_draining_) return Draining();
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return gate_.Loading();
  return &serving->model;
}

absl::StatusOr<v1::TokenizeResult> GenerationService::TokenizeNow(const grpc::ByteBuffer& bytes) const {
  const absl::StatusOr<const ServedModel*> found = FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = **found;
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
  for (const int32_t id : prompt->ids) {
    result.add_token_ids(static_cast<uint32_t>(id));
    result.add_token_bytes(std::string(model.tokenizer->TokenBytes(id)));
  }
  return result;
}

absl::StatusOr<v1::DetokenizeResult> GenerationService::DetokenizeNow(const grpc::ByteBuffer& bytes) const {
  const absl::StatusOr<const ServedModel*> found = FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = **found;
  v1::DetokenizeRequest message;
  if (absl::Status status = ParseMessage(bytes, BoundsOf(model.description), &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, model.description); !status.ok()) return status;
  if (model.tokenizer == nullptr) return NoTokenizer("Detokenize");
  const bool skips = !message.has_skip_special_tokens() || message.skip_special_tokens();
  const std::vector<int32_t> ids(message.token_ids().begin(), message.token_ids().end());
  v1::DetokenizeResult result;
  result.set_text(model.tokenizer->Decode(ids, skips ? SpecialText::kSkip : SpecialText::kPrint));
  return result;
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  CallRecord record(*context, metrics_, "Tokenize");
  return AnswerNow(*context, std::move(record), TokenizeNow(*request), *response);
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  CallRecord record(*context, metrics_, "Detokenize");
  return AnswerNow(*context, std::move(record), DetokenizeNow(*request), *response);
}

}  // namespace latentd

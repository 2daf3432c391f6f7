#include "server/call/admission.h"

#include <utility>

#include "latentd/v1/generation.pb.h"
#include "server/api/prompt.h"
#include "server/api/request_bounds.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"

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

}  // namespace

absl::StatusOr<const ModelInService*> Admission::FindModel() const {
  if (is_stopped_) return Draining();
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return gate_.Loading();
  return serving;
}

template <class Message>
absl::StatusOr<Message> Admission::Parse(MessageBytes bytes, const ServedModel& model) const {
  absl::StatusOr<Message> message = ParseAs<Message>(bytes, BoundsOf(model.description));
  if (!message.ok()) return message;
  if (absl::Status status = CheckFields(*message, model.description); !status.ok()) return status;
  return message;
}

template <class Message>
absl::StatusOr<std::unique_ptr<LiveCall>> Admission::Admit(MessageBytes bytes, const AdmissionRequest& arrival) const {
  return AdmitWith([&](const ServedModel& model) { return Parse<Message>(bytes, model); }, arrival);
}

absl::StatusOr<std::unique_ptr<LiveCall>> Admission::AdmitTranslated(const Translate& translate,
                                                                     const AdmissionRequest& arrival) const {
  const auto make_message = [&](const ServedModel& model) -> absl::StatusOr<v1::GenerateRequest> {
    absl::StatusOr<v1::GenerateRequest> message = translate(model);
    if (!message.ok()) return message;
    if (absl::Status status = CheckFields(*message, model.description); !status.ok()) return status;
    return message;
  };
  return AdmitWith(make_message, arrival);
}

template <class Make>
absl::StatusOr<std::unique_ptr<LiveCall>> Admission::AdmitWith(const Make& make_message,
                                                               const AdmissionRequest& arrival) const {
  const absl::StatusOr<const ModelInService*> serving = FindModel();
  if (!serving.ok()) return serving.status();
  if (!arrival.tenant.ok()) return arrival.tenant.status();
  const ServedModel& model = (*serving)->model;
  const auto message = make_message(model);
  if (!message.ok()) return message.status();
  absl::StatusOr<ValidRequest> valid = MakeFrom(*message, model, arrival.received);
  if (!valid.ok()) return valid.status();
  valid->request.scheduling.tenant = *arrival.tenant;
  if (absl::Status status = arrival.reserve(*valid); !status.ok()) return status;
  auto call = std::make_unique<LiveCall>((*serving)->live, arrival.record);
  absl::Status status = call->Submit(*std::move(valid), arrival.deadline, arrival.sink);
  if (!status.ok()) return status;
  return call;
}

template absl::StatusOr<v1::TokenizeRequest> Admission::Parse(MessageBytes, const ServedModel&) const;
template absl::StatusOr<v1::DetokenizeRequest> Admission::Parse(MessageBytes, const ServedModel&) const;
template absl::StatusOr<std::unique_ptr<LiveCall>> Admission::Admit<v1::GenerateRequest>(MessageBytes,
                                                                                         const AdmissionRequest&) const;
template absl::StatusOr<std::unique_ptr<LiveCall>> Admission::Admit<v1::ChatRequest>(MessageBytes,
                                                                                     const AdmissionRequest&) const;
template absl::StatusOr<std::unique_ptr<LiveCall>> Admission::Admit<v1::ScoreRequest>(MessageBytes,
                                                                                      const AdmissionRequest&) const;

}  // namespace latentd

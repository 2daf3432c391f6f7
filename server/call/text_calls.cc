#include "server/call/text_calls.h"

#include <utility>
#include <vector>

#include "server/api/answer_limit.h"
#include "server/api/prompt.h"
#include "server/api/status.h"

namespace latentd {

absl::StatusOr<v1::TokenizeResult> AnswerTokenize(const Admission& admission, MessageBytes bytes,
                                                  const ReserveRoom& reserve) {
  const absl::StatusOr<const ModelInService*> found = admission.FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  const absl::StatusOr<v1::TokenizeRequest> parsed = admission.Parse<v1::TokenizeRequest>(bytes, model);
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

absl::StatusOr<v1::DetokenizeResult> AnswerDetokenize(const Admission& admission, MessageBytes bytes,
                                                      const ReserveRoom& reserve) {
  const absl::StatusOr<const ModelInService*> found = admission.FindModel();
  if (!found.ok()) return found.status();
  const ServedModel& model = (*found)->model;
  const absl::StatusOr<v1::DetokenizeRequest> parsed = admission.Parse<v1::DetokenizeRequest>(bytes, model);
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

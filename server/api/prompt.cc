#include "server/api/prompt.h"

#include <utility>
#include <vector>

#include "server/api/answer_marks.h"
#include "server/api/chat_arrival.h"
#include "server/api/chat_checks.h"
#include "server/api/chat_context.h"
#include "server/api/continued_message.h"
#include "server/api/field_checks.h"
#include "server/api/shared_fields.h"
#include "server/api/status.h"

namespace latentd {
namespace {

template <class Message>
absl::StatusOr<EncodedPrompt> EncodeEither(const Message& request, const ServedModel& model) {
  if (request.has_text()) return EncodeText("text", request.text(), EncodingOf(request), model);
  const auto& ids = request.token_ids().ids();
  return EncodedPrompt{.field = "token_ids.ids", .ids = {ids.begin(), ids.end()}};
}

// Text that the context cannot hold, however long its tokens are, is not encoded to find that out.
absl::Status CheckSize(std::string_view field, size_t text_bytes, const ServedModel& model) {
  const size_t context = model.description.limits().max_context_tokens();
  const std::optional<size_t> most = model.tokenizer->MostTextBytes(context);
  if (!most || context == 0 || text_bytes <= *most) return absl::OkStatus();
  return TextTooLong(field, {.text_bytes = text_bytes, .longest_token_bytes = *most / context, .limit = context});
}

// What the template wrote is read as it is meant, control tokens included; what came with the request is text.
std::vector<TextSpan> SpansOf(const jinja::TracedText& rendered) {
  const std::string_view text = rendered.text;
  std::vector<TextSpan> spans;
  size_t begin = 0;
  for (const jinja::TracedText::Range& range : rendered.from_request) {
    spans.push_back({text.substr(begin, range.begin - begin), SpecialTokens::kRecognize});
    spans.push_back({text.substr(range.begin, range.end - range.begin), SpecialTokens::kAsText});
    begin = range.end;
  }
  spans.push_back({text.substr(begin), SpecialTokens::kRecognize});
  return spans;
}

}  // namespace

absl::StatusOr<EncodedPrompt> EncodeText(std::string_view field, std::string_view text, TextEncoding encoding,
                                         const ServedModel& model) {
  if (model.tokenizer == nullptr) return NoTokenizer(field);
  if (absl::Status status = CheckSize(field, text.size(), model); !status.ok()) return status;
  absl::StatusOr<std::vector<int32_t>> ids = model.tokenizer->Encode(text, encoding.special_tokens);
  if (!ids.ok()) return InvalidField(field, std::string(ids.status().message()));
  if (encoding.begin == BeginOfSequence::kAdd) {
    const PromptFrame& frame = model.tokenizer->frame();
    ids->insert(ids->begin(), frame.before.begin(), frame.before.end());
    ids->insert(ids->end(), frame.behind.begin(), frame.behind.end());
  }
  return EncodedPrompt{.field = std::string(field), .ids = *std::move(ids)};
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::GenerateRequest& request, const ServedModel& model) {
  return EncodeEither(request, model);
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::ScoreRequest& request, const ServedModel& model) {
  return EncodeEither(request, model);
}

absl::StatusOr<ChatPrompt> EncodeChat(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model) {
  if (ForbidsCalls(chat) && chat.tools_size() > 0) {
    v1::ChatInput without_tools = chat;
    without_tools.clear_tools();
    return EncodeChat(without_tools, prefix, model);
  }
  const std::string field = std::string(prefix) + "messages";
  if (model.tokenizer == nullptr) return NoTokenizer(field);
  const ChatFormat& format = model.FormatFor(chat.tools_size());
  if (format.chat_template == nullptr) return NoChatTemplate(format.why_no_template);
  FieldChecks checks;
  CheckTemplateKnows(chat, prefix, model, checks);
  if (absl::Status status = checks.Result(); !status.ok()) return status;
  absl::StatusOr<jinja::TracedText> rendered =
      format.chat_template->RenderTraced(ChatContext(chat, model), {.list_changes = jinja::ListChanges::kOwnLists});
  if (!rendered.ok()) return InvalidField(field, std::string(rendered.status().message()));
  if (absl::Status status = RemoveMarks(field, chat, format, *rendered); !status.ok()) return status;
  CheckArrival(chat, prefix, model, rendered->text, checks);
  if (absl::Status status = checks.Result(); !status.ok()) return status;
  if (chat.continue_final_message()) {
    const absl::Status status = EndAtOpenEnd(std::string(prefix) + "continue_final_message",
                                             ContinuedText(*chat.messages().rbegin()), *rendered);
    if (!status.ok()) return status;
  }
  if (absl::Status status = CheckSize(field, rendered->text.size(), model); !status.ok()) return status;
  absl::StatusOr<std::vector<int32_t>> ids = model.tokenizer->Encode(SpansOf(*rendered));
  if (!ids.ok()) return InvalidField(field, std::string(ids.status().message()));
  if (ids->empty()) return InvalidField(field, "expected messages that make a prompt, found none that say anything");
  return ChatPrompt{.rendered = std::move(rendered->text), .prompt = {.field = field, .ids = *std::move(ids)}};
}

v1::ChatInput ChatInputOf(const v1::ChatRequest& request) {
  static const SharedFields shared(*v1::ChatRequest::descriptor(), *v1::ChatInput::descriptor());
  v1::ChatInput chat;
  shared.Copy(request, &chat);
  return chat;
}

}  // namespace latentd

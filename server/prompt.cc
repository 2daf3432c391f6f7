#include "server/prompt.h"

#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "server/field_checks.h"
#include "server/status.h"

namespace latentd {
namespace {

template <class Message>
absl::StatusOr<EncodedPrompt> EncodeEither(const Message& request, const ServedModel& model) {
  if (request.has_text()) return EncodeText("text", request.text(), BeginOfSequence::kAdd, model);
  const auto& ids = request.token_ids().ids();
  return EncodedPrompt{.field = "token_ids.ids", .ids = {ids.begin(), ids.end()}};
}

std::string At(std::string_view prefix, std::string_view field, int index, std::string_view inner) {
  return absl::StrFormat("%s%s[%d]%s", prefix, field, index, inner);
}

void CheckMessage(const v1::ChatMessage& message, std::string_view prefix, int index, FieldChecks& checks) {
  const std::string& role = message.role();
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    checks.Invalid(At(prefix, "messages", index, ".role"),
                   absl::StrFormat("expected system, user, assistant or tool, found \"%s\"", role));
  }
  const std::string_view what = "tools and reasoning in messages are not implemented";
  checks.Unsupported(role == "tool", At(prefix, "messages", index, ".role"), what);
  checks.Unsupported(message.has_reasoning(), At(prefix, "messages", index, ".reasoning"), what);
  checks.Unsupported(message.tool_calls_size() > 0, At(prefix, "messages", index, ".tool_calls"), what);
  checks.Unsupported(message.has_tool_call_id(), At(prefix, "messages", index, ".tool_call_id"), what);
  checks.Unsupported(message.has_name(), At(prefix, "messages", index, ".name"), what);
}

absl::Status CheckChat(const v1::ChatInput& chat, std::string_view prefix) {
  FieldChecks checks;
  if (chat.messages().empty()) checks.Invalid(std::string(prefix) + "messages", "expected at least one, found none");
  for (int i = 0; i < chat.messages_size(); ++i) CheckMessage(chat.messages(i), prefix, i, checks);
  checks.Unsupported(chat.tools_size() > 0, std::string(prefix) + "tools", "tools are not implemented");
  const std::string options = std::string(prefix) + "template_options.";
  const std::string_view what = "options of the chat template are not implemented";
  checks.Unsupported(chat.template_options().has_thinking(), options + "thinking", what);
  checks.Unsupported(chat.template_options().has_reasoning_effort(), options + "reasoning_effort", what);
  checks.Unsupported(!chat.template_options().variables_json().empty(), options + "variables_json", what);
  checks.Unsupported(chat.safe_mode(), std::string(prefix) + "safe_mode",
                     "special tokens in messages are recognised; encoding them as text is not implemented");
  return checks.Result();
}

ChatTemplate::Context ContextOf(const v1::ChatInput& chat, const TokenizerConfig& tokens) {
  std::vector<jinja::Value> messages;
  for (const v1::ChatMessage& message : chat.messages()) {
    jinja::Object entry;
    entry.Set("role", jinja::Value::Text(message.role()));
    entry.Set("content", jinja::Value::Text(message.content()));
    messages.push_back(jinja::Value::MakeObject(std::move(entry)));
  }
  ChatTemplate::Context context;
  context.Set("messages", jinja::Value::MakeList(std::move(messages)));
  const bool opens_answer = !chat.has_add_generation_prompt() || chat.add_generation_prompt();
  context.Set("add_generation_prompt", jinja::Value::Bool(opens_answer));
  context.Set("bos_token", jinja::Value::Text(tokens.bos_token));
  context.Set("eos_token", jinja::Value::Text(tokens.eos_token));
  context.Set("pad_token", jinja::Value::Text(tokens.pad_token));
  return context;
}

}  // namespace

absl::StatusOr<EncodedPrompt> EncodeText(std::string_view field, std::string_view text, BeginOfSequence begin,
                                         const ServedModel& model) {
  if (model.tokenizer == nullptr) return NoTokenizer(field);
  absl::StatusOr<std::vector<int32_t>> ids = model.tokenizer->Encode(text, SpecialTokens::kRecognize);
  if (!ids.ok()) return InvalidField(field, std::string(ids.status().message()));
  const std::optional<int32_t> bos = model.tokenizer->bos_id();
  const bool adds = begin == BeginOfSequence::kAdd && model.tokenizer->config().add_bos_token && bos.has_value();
  if (adds) ids->insert(ids->begin(), *bos);
  return EncodedPrompt{.field = std::string(field), .ids = *std::move(ids)};
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::GenerateRequest& request, const ServedModel& model) {
  return EncodeEither(request, model);
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::ScoreRequest& request, const ServedModel& model) {
  return EncodeEither(request, model);
}

absl::StatusOr<ChatPrompt> EncodeChat(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model) {
  if (absl::Status status = CheckChat(chat, prefix); !status.ok()) return status;
  const std::string field = std::string(prefix) + "messages";
  if (model.tokenizer == nullptr) return NoTokenizer(field);
  if (model.chat_template == nullptr) return NoChatTemplate();
  absl::StatusOr<std::string> rendered = model.chat_template->Render(ContextOf(chat, model.tokenizer->config()));
  if (!rendered.ok()) return InvalidField(field, std::string(rendered.status().message()));
  absl::StatusOr<EncodedPrompt> prompt = EncodeText(field, *rendered, BeginOfSequence::kOmit, model);
  if (!prompt.ok()) return prompt.status();
  if (prompt->ids.empty())
    return InvalidField(field, "expected messages that make a prompt, found none that say anything");
  return ChatPrompt{.rendered = *std::move(rendered), .prompt = *std::move(prompt)};
}

v1::ChatInput ChatInputOf(const v1::ChatRequest& request) {
  v1::ChatInput chat;
  *chat.mutable_messages() = request.messages();
  *chat.mutable_tools() = request.tools();
  if (request.has_template_options()) *chat.mutable_template_options() = request.template_options();
  if (request.has_add_generation_prompt()) chat.set_add_generation_prompt(request.add_generation_prompt());
  if (request.has_safe_mode()) chat.set_safe_mode(request.safe_mode());
  return chat;
}

}  // namespace latentd

// Conversations and templates of a test's own, and what becomes of the one in the other.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "server/api/chat_checks.h"
#include "server/api/chat_context.h"
#include "server/api/prompt.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"

namespace latentd {

// The bundled model's tokenizer with a template of the test's own.
inline ServedModel ModelWith(std::string_view source) {
  ServedModel model;
  model.tokenizer = *Tokenizer::Load("models/tiny-tales");
  model.chat = ChatFormatOf(*ChatTemplate::Parse(source), SpecialTokenVariables(model.tokenizer->config()));
  return model;
}

// With tokens for the markers, and the template that comes with it.
inline ServedModel MarkedModel(std::string_view source) {
  ServedModel model = ModelWith(source);
  model.tokenizer = OrDie(LoadFrom(SmallTokenizerWith(DeepSeekMarkers())));
  model.answer_format = FindAnswerFormat(*model.tokenizer);
  return model;
}

// In the manner of V3, V2.5 and R1: either a text or calls, whose section begins once in a conversation, and of a text
// what stands behind the last </think>.
inline const std::string kEither =
    "{% set ns = namespace(is_first=true, is_tool=false) %}{% for m in messages %}{% if m.role == 'user' %}[U]"
    "{{ m.content }}{% set ns.is_tool = false %}{% elif m.role == 'tool' %}{% set ns.is_tool = true %}[ob]"
    "{{ m.content }}[oe]{% elif m.content is none %}{% for c in m.tool_calls %}{{ '[A][CB]' if ns.is_first else '\\n' "
    "}}"
    "[cb]function[sep]{{ c.function.name + ' ' + c.function.arguments }}[ce]{% set ns.is_first = false %}{% endfor %}"
    "[CE][E]{% else %}{{ '[OE]' if ns.is_tool else '[A]' }}{{ m.content.split('</think>')[-1] }}[E]{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[OE]' if ns.is_tool else '[A]' }}{% endif %}";

inline v1::ChatMessage& Add(v1::ChatInput& chat, const std::string& role, const std::string& content) {
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(role);
  message.set_content(content);
  return message;
}

inline v1::ToolCall& AddCall(v1::ChatMessage& message, const std::string& name, const std::string& arguments) {
  v1::ToolCall& call = *message.add_tool_calls();
  call.set_id("call_0");
  call.set_name(name);
  call.set_arguments_json(arguments);
  return call;
}

inline std::string RenderedBy(const ServedModel& model, const v1::ChatInput& chat) {
  FieldChecks checks;
  CheckChat(chat, "", checks);
  const absl::Status checked = checks.Result();
  if (!checked.ok()) return std::string(checked.message());
  const absl::StatusOr<ChatPrompt> prompt = EncodeChat(chat, "", model);
  return prompt.ok() ? prompt->rendered : std::string(prompt.status().message());
}

inline std::string RenderedBy(std::string_view source, const v1::ChatInput& chat) {
  return RenderedBy(ModelWith(source), chat);
}

inline std::vector<std::string> FieldsOf(const FieldChecks& checks) {
  google::rpc::BadRequest bad;
  const absl::Status status = checks.Result();
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  std::vector<std::string> fields;
  if (!payload || !bad.ParseFromString(std::string(*payload))) return fields;
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  return fields;
}

inline std::vector<std::string> WrongFields(const v1::ChatInput& chat, std::string_view prefix = "") {
  FieldChecks checks;
  CheckChat(chat, prefix, checks);
  return FieldsOf(checks);
}

}  // namespace latentd

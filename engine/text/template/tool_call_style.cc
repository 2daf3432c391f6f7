#include "engine/text/template/tool_call_style.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>

#include "engine/text/template/json_reader.h"

namespace latentd {
namespace {

using jinja::Value;

constexpr std::string_view kArgumentsText = R"("{\"probe_key\": \"probe_value\"}")";
constexpr std::string_view kArgumentsObject = R"({"probe_key": "probe_value"})";
constexpr std::string_view kTools =
    R"([{"type": "function", "function": {"name": "probe_tool", "description": "probe", "parameters": {}}}])";

// Far above what a template spends on a conversation of three short messages.
constexpr jinja::RenderLimits kLimits = {.text_bytes = size_t{1} << 20, .work = size_t{1} << 20};

// Of our own making, so it is JSON.
Value Json(const std::string& text) { return jinja::ParseJson(text).value(); }

std::string Call(std::string_view content, std::string_view arguments) {
  return absl::StrFormat(
      R"({"role": "assistant", "content": %s, "tool_calls": [{"id": "functions.probe_call:0", "type": "function",)"
      R"( "function": {"name": "probe_call", "arguments": %s}}]})",
      content, arguments);
}

// What the template makes of a conversation that goes on with `message` and a tool's result; empty where it fails.
std::string RenderWith(const std::string& message, const ChatTemplate& chat_template,
                       const ChatTemplate::Context& variables) {
  ChatTemplate::Context context = variables;
  context.Set(
      "messages",
      Json(absl::StrFormat(R"([{"role": "user", "content": "probe"}, %s, {"role": "tool", "content": "probe_result",)"
                           R"( "tool_call_id": "functions.probe_call:0", "name": "probe_call"}])",
                           message)));
  context.Set("tools", Json(std::string(kTools)));
  context.Set("add_generation_prompt", Value::Bool(true));
  const auto prompt = chat_template.Render(context, {.limits = kLimits, .list_changes = jinja::ListChanges::kOwnLists});
  return prompt.ok() ? *prompt : "";
}

// The call is there, and its arguments are neither encoded twice nor printed as Python prints a dict.
bool PrintsCall(std::string_view prompt) {
  const auto has = [&](std::string_view part) { return prompt.find(part) != std::string_view::npos; };
  return has("probe_call") && has("probe_key") && has("probe_value") && !has(R"(\"probe_key)") && !has("'probe_key'");
}

ToolCallStyle StyleWith(ArgumentsForm form, const ChatTemplate& chat_template, const ChatTemplate::Context& variables) {
  const std::string_view arguments = form == ArgumentsForm::kText ? kArgumentsText : kArgumentsObject;
  const std::string none = RenderWith(Call("null", arguments), chat_template, variables);
  const std::string empty = RenderWith(Call("\"\"", arguments), chat_template, variables);
  const std::string text = RenderWith(Call("\"probe_content\"", arguments), chat_template, variables);
  ToolCallStyle style{.arguments = form,
                      .beside_none = PrintsCall(none) && !absl::StrContains(none, "None"),
                      .beside_empty = PrintsCall(empty),
                      .beside_text = PrintsCall(text) && absl::StrContains(text, "probe_content")};
  const std::string& best = style.beside_none ? none : style.beside_empty ? empty : text;
  style.prints_results = absl::StrContains(best, "probe_result");
  return style;
}

}  // namespace

ToolCallStyle FindToolCallStyle(const ChatTemplate& chat_template, const ChatTemplate::Context& variables) {
  for (const ArgumentsForm form : {ArgumentsForm::kText, ArgumentsForm::kObject}) {
    const ToolCallStyle style = StyleWith(form, chat_template, variables);
    if (style.prints_calls()) return style;
  }
  ToolCallStyle style;
  const std::string plain = RenderWith(R"({"role": "assistant", "content": "probe"})", chat_template, variables);
  style.prints_results = absl::StrContains(plain, "probe_result");
  return style;
}

}  // namespace latentd

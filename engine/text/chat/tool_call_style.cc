#include "engine/text/chat/tool_call_style.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>

#include "base/white_space.h"
#include "jinja/json_reader.h"

namespace latentd {
namespace {

using jinja::Value;

constexpr std::string_view kArgumentsText = R"("{\"probe_key\": \"probe_value\"}")";
constexpr std::string_view kArgumentsObject = R"({"probe_key": "probe_value"})";
constexpr std::string_view kTools =
    R"([{"type": "function", "function": {"name": "probe_tool", "description": "probe", "parameters": {}}}])";

// Far above what a template spends on a conversation of three short messages.
constexpr jinja::RenderLimits kLimits = {.text_bytes = size_t{1} << 20, .work = size_t{1} << 20};

// The text is of our own making, so it is JSON.
Value Json(const std::string& text) { return jinja::ParseJson(text).value(); }

std::string Call(std::string_view content, std::string_view arguments) {
  return absl::StrFormat(
      R"({"role": "assistant", "content": %s, "tool_calls": [{"id": "functions.probe_call:0", "type": "function",)"
      R"( "function": {"name": "probe_call", "arguments": %s}}]})",
      content, arguments);
}

enum class Prompt : uint8_t { kOfAnAnswer, kOfThePast };

// The prompt of a conversation that goes on with `messages`; empty where the template fails.
std::string Render(const std::string& messages, Prompt kind, const ChatTemplate& chat_template,
                   const ChatTemplate::Context& variables) {
  ChatTemplate::Context context = variables;
  context.Set("messages", Json(absl::StrFormat(R"([{"role": "user", "content": "probe"}, %s])", messages)));
  context.Set("tools", Json(std::string(kTools)));
  context.Set("add_generation_prompt", Value::Bool(kind == Prompt::kOfAnAnswer));
  const auto prompt = chat_template.Render(context, {.limits = kLimits, .list_changes = jinja::ListChanges::kOwnLists});
  return prompt.ok() ? *prompt : "";
}

std::string RenderAlone(const std::string& message, const ChatTemplate& chat_template,
                        const ChatTemplate::Context& variables) {
  return Render(message, Prompt::kOfThePast, chat_template, variables);
}

// With a tool's result behind it.
std::string RenderWith(const std::string& messages, const ChatTemplate& chat_template,
                       const ChatTemplate::Context& variables) {
  const char* const result = R"(, {"role": "tool", "content": "probe_result", "name": "probe_call",)"
                             R"( "tool_call_id": "functions.probe_call:0"})";
  return Render(messages + result, Prompt::kOfAnAnswer, chat_template, variables);
}

// The call is there, and its arguments are neither encoded twice nor printed as Python prints a dict.
bool PrintsCall(std::string_view prompt) {
  const auto has = [&](std::string_view part) { return prompt.find(part) != std::string_view::npos; };
  return has("probe_call") && has("probe_key") && has("probe_value") && !has(R"(\"probe_key)") && !has("'probe_key'");
}

constexpr std::string_view kTextAnswer = R"({"role": "assistant", "content": "probe_content"})";

// The text between the two, empty where they are not both there, in this order.
std::string_view Between(std::string_view prompt, std::string_view first, std::string_view second) {
  const size_t begin = prompt.find(first), end = prompt.find(second);
  if (begin == prompt.npos || end == prompt.npos || begin + first.size() > end) return {};
  return prompt.substr(begin + first.size(), end - begin - first.size());
}

// Three conversations tell: one with a text, one with calls, one with both.
std::optional<SplitAnswer> FindSplit(const std::string& calls, const ChatTemplate& chat_template,
                                     const ChatTemplate::Context& variables) {
  const std::string text_answer(kTextAnswer);
  const std::string text = RenderWith(text_answer, chat_template, variables);
  const std::string only_calls = RenderWith(calls, chat_template, variables);
  const std::string both = RenderWith(text_answer + ", " + calls, chat_template, variables);
  // Up to the text, or the calls, both prompts are the same: the rest of the one begins with the calls' opening.
  const size_t begin = text.find("probe_content"), name = only_calls.find("probe_call", begin);
  if (begin == text.npos || name == only_calls.npos || only_calls.compare(0, begin, text, 0, begin) != 0) return {};
  SplitAnswer split{.text_end = {}, .calls_opening = only_calls.substr(begin, name - begin)};
  const std::string_view seam = Between(both, "probe_content", "probe_call");
  if (IsWhiteSpace(split.calls_opening) || !PrintsCall(both) || !seam.ends_with(split.calls_opening)) return {};
  const std::string alone = RenderAlone(text_answer, chat_template, variables);
  const size_t end = alone.find("probe_content");
  if (end != alone.npos) split.text_end = alone.substr(end + std::string_view("probe_content").size());
  if (!seam.starts_with(split.text_end)) return {};
  return split;
}

ToolCallStyle StyleWith(ArgumentsForm form, const ChatTemplate& chat_template, const ChatTemplate::Context& variables) {
  const std::string_view arguments = form == ArgumentsForm::kText ? kArgumentsText : kArgumentsObject;
  const std::string none = RenderWith(Call("null", arguments), chat_template, variables);
  const std::string empty = RenderWith(Call("\"\"", arguments), chat_template, variables);
  const std::string text = RenderWith(Call("\"probe_content\"", arguments), chat_template, variables);
  ToolCallStyle style{.arguments = form,
                      .beside_none = PrintsCall(none) && !absl::StrContains(none, "None"),
                      .beside_empty = PrintsCall(empty),
                      .beside_text = PrintsCall(text) && absl::StrContains(text, "probe_content"),
                      .split = {}};
  const std::string& best = style.beside_none ? none : style.beside_empty ? empty : text;
  style.prints_results = absl::StrContains(best, "probe_result");
  if (style.prints_only_calls() && !style.beside_text) {
    const std::string only_calls = Call(style.beside_none ? "null" : "\"\"", arguments);
    style.split = FindSplit(only_calls, chat_template, variables);
  }
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

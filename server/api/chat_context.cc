#include "server/api/chat_context.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/white_space.h"
#include "jinja/json_reader.h"
#include "jinja/json_shape.h"
#include "server/api/answer_marks.h"
#include "server/api/continued_message.h"

namespace latentd {
namespace {

using jinja::Object;
using jinja::Value;

class ContextBuilder {
 public:
  ContextBuilder(const v1::ChatInput& chat, const ServedModel& model)
      : chat_(chat),
        format_(model.FormatFor(chat.tools_size())),
        reasoning_end_mark_(ReasoningEndMark(chat, format_)),
        context_(SpecialTokenVariables(model.tokenizer->config())) {}

  ChatTemplate::Context Build() {
    std::vector<Value> messages;
    for (const v1::ChatMessage& message : chat_.messages()) {
      const bool is_last = &message == &*chat_.messages().rbegin();
      if (IsSplit(message, format_)) {
        messages.push_back(MakeMessage(WithoutCalls(message), Ending::kSplit));
        messages.push_back(MakeMessage(WithoutText(message), Ending::kSplit));
        continue;
      }
      messages.push_back(
          MakeMessage(message, is_last && chat_.continue_final_message() ? Ending::kOpen : Ending::kClosed));
    }
    context_.Set("messages", Value::MakeList(std::move(messages)));
    std::vector<Value> tools;
    for (const v1::Tool& tool : chat_.tools()) tools.push_back(MakeTool(tool));
    if (!tools.empty()) context_.Set("tools", Value::MakeList(std::move(tools)));
    const bool opens_answer =
        chat_.has_add_generation_prompt() ? chat_.add_generation_prompt() : !chat_.continue_final_message();
    context_.Set("add_generation_prompt", Value::Bool(opens_answer));
    SetOptions(chat_.template_options());
    return std::move(context_);
  }

 private:
  // kOpen: the answer goes on with it. kSplit: one of two messages that are one.
  enum class Ending : uint8_t { kClosed, kOpen, kSplit };

  // A value that is the request's own.
  Value Given(Value value) const { return chat_.safe_mode() ? jinja::FromRequest(value) : value; }
  Value Given(const std::string& text) const { return Given(Value::Text(text)); }
  // The value of a text that has a shape.
  Value GivenJson(const std::string& text) const { return Given(jinja::ParseJson(text).value_or(Value::None())); }

  static v1::ChatMessage WithoutCalls(v1::ChatMessage message) {
    message.clear_tool_calls();
    return message;
  }

  static v1::ChatMessage WithoutText(v1::ChatMessage message) {
    message.clear_content();
    message.clear_content_parts();
    message.clear_reasoning();
    message.mutable_tool_calls(0)->set_name(WithMarkedBegin(message.tool_calls(0).name()));
    return message;
  }

  static Value WithFunction(Object entry, Object function) {
    entry.Set("type", Value::Text("function"));
    entry.Set("function", Value::MakeObject(std::move(function)));
    return Value::MakeObject(std::move(entry));
  }

  Value MakeTool(const v1::Tool& tool) const {
    Object function;
    function.Set("name", Given(tool.name()));
    if (tool.has_description()) function.Set("description", Given(tool.description()));
    if (tool.has_parameters_json()) function.Set("parameters", GivenJson(tool.parameters_json()));
    return WithFunction({}, std::move(function));
  }

  // A model's arguments need not be JSON. What is none, or far too much of it, goes into the prompt as it stands, also
  // where the template writes JSON.
  Value MakeArguments(const v1::ToolCall& call) {
    const std::string text = call.has_arguments_json() ? call.arguments_json() : "{}";
    if (format_.tool_call_style.arguments == ArgumentsForm::kText) return Given(text);
    if (IsWhiteSpace(text)) return Value::MakeObject({});
    const absl::StatusOr<jinja::JsonShape> shape = jinja::ShapeOfJson(text);
    if (shape.ok() && shape->depth <= kMaxJsonDepth && num_argument_values_ + shape->num_values <= kMaxJsonValues) {
      num_argument_values_ += shape->num_values;
      return GivenJson(text);
    }
    return Given(Value::Text({.text = text, .from_request = {}, .kind = jinja::TextKind::kJson}));
  }

  Value MakeCall(const v1::ToolCall& call) {
    Object function;
    function.Set("name", Given(call.name()));
    function.Set("arguments", MakeArguments(call));
    Object entry;
    if (call.has_id()) entry.Set("id", Given(call.id()));
    return WithFunction(std::move(entry), std::move(function));
  }

  // Callers give none, or an empty text, as the content of a message that has only calls; templates differ in which of
  // the two they print the calls for. A content that was given counts as given where the template has both.
  Value ContentBesideCalls(const v1::ChatMessage& message) const {
    const ToolCallStyle& style = format_.tool_call_style;
    if (HasContent(message)) return Content(message, Ending::kClosed);
    const bool is_empty = message.has_content() ? style.beside_empty : !style.beside_none;
    return is_empty ? Value::Text("") : Value::None();
  }

  Value Content(const v1::ChatMessage& message, Ending ending) const {
    const auto end_of = [&](const std::string& text) {
      return ending == Ending::kOpen ? WithOpenEnd(text) : ending == Ending::kSplit ? WithMarkedEnd(text) : text;
    };
    const auto text_of = [&](const std::string& text) {
      return KeepsReasoningEnds(message, format_) ? WithMarkedReasoningEnds(text, reasoning_end_mark_) : text;
    };
    if (message.content_parts().empty()) return Given(end_of(text_of(message.content())));
    const bool as_list = format_.chat_template->content_format() == jinja::ContentFormat::kParts;
    std::string joined;
    std::vector<Value> parts;
    for (int i = 0; i < message.content_parts_size(); ++i) {
      const std::string part = text_of(message.content_parts(i).text());
      const std::string text = i + 1 == message.content_parts_size() ? end_of(part) : part;
      if (!as_list) {
        joined += (i > 0 ? "\n" : "") + text;
        continue;
      }
      Object entry;
      entry.Set("type", Value::Text("text"));
      entry.Set("text", Given(text));
      parts.push_back(Value::MakeObject(std::move(entry)));
    }
    return as_list ? Value::MakeList(std::move(parts)) : Given(joined);
  }

  Value MakeMessage(const v1::ChatMessage& message, Ending ending) {
    Object entry;
    entry.Set("role", Value::Text(message.role()));
    entry.Set("content", message.tool_calls_size() > 0 ? ContentBesideCalls(message) : Content(message, ending));
    if (message.has_reasoning()) entry.Set("reasoning", Given(message.reasoning()));
    if (message.tool_calls_size() > 0) {
      std::vector<Value> calls;
      for (const v1::ToolCall& call : message.tool_calls()) calls.push_back(MakeCall(call));
      entry.Set("tool_calls", Value::MakeList(std::move(calls)));
    }
    if (message.has_tool_call_id()) entry.Set("tool_call_id", Given(message.tool_call_id()));
    if (message.has_name()) entry.Set("name", Given(message.name()));
    return Value::MakeObject(std::move(entry));
  }

  void SetOptions(const v1::TemplateOptions& options) {
    if (options.has_thinking()) {
      for (const std::string_view name : kThinkingVariables) {
        if (format_.chat_template->ReadsVariable(name)) context_.Set(name, Value::Bool(options.thinking()));
      }
    }
    if (options.has_reasoning_effort()) context_.Set("reasoning_effort", Given(options.reasoning_effort()));
    // A map of the wire has no order, a context has one.
    const std::map<std::string, std::string> variables(options.variables_json().begin(),
                                                       options.variables_json().end());
    for (const auto& [name, value] : variables) context_.Set(name, GivenJson(value));
  }

  const v1::ChatInput& chat_;
  const ChatFormat& format_;
  const std::string reasoning_end_mark_;
  ChatTemplate::Context context_;
  size_t num_argument_values_ = 0;  // and names, of all calls so far
};

}  // namespace

ChatTemplate::Context ChatContext(const v1::ChatInput& chat, const ServedModel& model) {
  return ContextBuilder(chat, model).Build();
}

}  // namespace latentd

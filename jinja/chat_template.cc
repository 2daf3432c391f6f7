#include "jinja/chat_template.h"

#include <memory>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/evaluator.h"
#include "jinja/later_names.h"
#include "jinja/parser.h"

namespace latentd {
namespace {

using jinja::Object;
using jinja::Value;

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

// The message with its reasoning under both names that templates look for.
Value WithReasoning(const Value& message) {
  if (!message.is_object()) return message;
  const Object& fields = message.object();
  const Value* reasoning = nullptr;
  for (const std::string_view name : {"thinking", "reasoning", "reasoning_content"}) {
    if (const Value* found = fields.Find(name)) reasoning = found;
  }
  if (reasoning == nullptr) return message;
  Object completed = fields;
  for (const std::string_view name : {"reasoning_content", "thinking"}) {
    if (completed.Find(name) == nullptr) completed.Set(name, *reasoning);
  }
  return Value::MakeObject(std::move(completed));
}

ChatTemplate::Context Complete(const ChatTemplate::Context& context) {
  ChatTemplate::Context completed = context;
  for (const std::string_view name : {"tools", "documents"}) {
    if (completed.Find(name) == nullptr) completed.Set(name, Value::None());
  }
  const Value* messages = completed.Find("messages");
  if (messages == nullptr || !messages->is_list()) return completed;
  std::vector<Value> with_reasoning;
  for (const Value& message : messages->items()) with_reasoning.push_back(WithReasoning(message));
  completed.Set("messages", Value::MakeList(std::move(with_reasoning)));
  return completed;
}

}  // namespace

ChatTemplate::ChatTemplate(jinja::Body body)
    : later_names_(jinja::MarkLaterNames(body)),
      body_(std::make_shared<const jinja::Body>(std::move(body))),
      names_(jinja::FindNames(*body_)),
      content_format_(jinja::FindContentFormat(*body_)) {}

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source) {
  absl::StatusOr<jinja::Body> body = jinja::Parse(source);
  if (!body.ok()) return body.status();
  return ChatTemplate(*std::move(body));
}

absl::StatusOr<std::string> ChatTemplate::Render(const Context& context, const RenderOptions& options) const {
  absl::StatusOr<jinja::TracedText> prompt = RenderTraced(context, options);
  if (!prompt.ok()) return prompt.status();
  return std::move(prompt->text);
}

absl::StatusOr<jinja::TracedText> ChatTemplate::RenderTraced(const Context& context,
                                                             const RenderOptions& options) const {
  const Context completed = Complete(context);
  jinja::Runtime runtime(options.limits, options.list_changes, options.now ? *options.now : LocalTime());
  jinja::TracedText prompt = jinja::Evaluator(runtime, completed).Render(*body_, later_names_);
  if (runtime.failed()) return runtime.status();
  return prompt;
}

}  // namespace latentd

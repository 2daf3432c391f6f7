#include "server/api/chat_checks.h"

#include <algorithm>
#include <set>
#include <span>
#include <string>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/text/answer/answer_parser.h"
#include "jinja/json_shape.h"
#include "server/api/chat_probe.h"
#include "server/api/request_bounds.h"

namespace latentd {
namespace {

constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxJsonBytes = 1 << 20;

std::string Indexed(std::string_view path, std::string_view field, int index) {
  return absl::StrFormat("%s%s[%d]", path, field, index);
}

enum class JsonKind { kAny, kObject };

// The JSON texts of one request.
class JsonChecks {
 public:
  explicit JsonChecks(FieldChecks& checks) : checks_(checks) {}

  void Check(const std::string& field, std::string_view text, JsonKind kind) {
    if (text.size() > kMaxJsonBytes) return checks_.Length(field, text, 1, kMaxJsonBytes);
    const absl::StatusOr<jinja::JsonShape> shape = jinja::ShapeOfJson(text);
    if (!shape.ok()) return checks_.Invalid(field, std::string(shape.status().message()));
    num_values_ += shape->num_values;
    if (shape->depth > kMaxJsonDepth) {
      checks_.Invalid(field,
                      absl::StrFormat("expected JSON of at most %d levels, found %d", kMaxJsonDepth, shape->depth));
    } else if (kind == JsonKind::kObject && !shape->is_object) {
      checks_.Invalid(field, "expected a JSON object, found another JSON value");
    } else if (num_values_ > kMaxJsonValues) {
      checks_.Invalid(field, absl::StrFormat("expected at most %d JSON values and names in all tools and variables, "
                                             "found %d up to here",
                                             kMaxJsonValues, num_values_));
    }
  }

 private:
  FieldChecks& checks_;
  size_t num_values_ = 0;
};

void OnlyWith(std::string_view role, bool is_set, const std::string& field, const v1::ChatMessage& message,
              FieldChecks& checks) {
  if (!is_set || message.role() == role) return;
  checks.Invalid(field,
                 absl::StrFormat("expected only with role %s, found role %s", role, QuotedExcerpt(message.role())));
}

void CheckContentParts(const v1::ChatMessage& message, const std::string& path, FieldChecks& checks) {
  if (message.content_parts().empty()) return;
  const std::string field = path + ".content_parts";
  if (message.has_content()) checks.Invalid(field, "expected either content or content_parts, found both");
  if (!checks.Count(field, static_cast<size_t>(message.content_parts_size()), kMaxContentParts)) return;
  const auto* descriptor = v1::ContentPart::descriptor();
  for (int i = 0; i < message.content_parts_size() && !checks.is_full(); ++i) {
    const v1::ContentPart::KindCase kind = message.content_parts(i).kind_case();
    if (kind == v1::ContentPart::kText) continue;
    const std::string part = Indexed(field, "", i);
    if (kind == v1::ContentPart::KIND_NOT_SET) {
      checks.Invalid(part, "expected a text, found nothing");
    } else {
      checks.Unsupported(true, absl::StrFormat("%s.%s", part, descriptor->FindFieldByNumber(kind)->name()),
                         "of the parts of a content only texts are implemented");
    }
  }
}

void CheckMessage(const v1::ChatMessage& message, const std::string& path, FieldChecks& checks) {
  const std::string& role = message.role();
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    checks.Invalid(path + ".role",
                   absl::StrFormat("expected system, user, assistant or tool, found %s", QuotedExcerpt(role)));
    return;
  }
  OnlyWith("assistant", message.has_reasoning(), path + ".reasoning", message, checks);
  OnlyWith("assistant", message.tool_calls_size() > 0, path + ".tool_calls", message, checks);
  OnlyWith("tool", message.has_tool_call_id(), path + ".tool_call_id", message, checks);
  if (message.has_tool_call_id()) checks.Length(path + ".tool_call_id", message.tool_call_id(), 1, kMaxCallNameBytes);
  if (message.has_name()) checks.Length(path + ".name", message.name(), 1, kMaxNameBytes);
  CheckContentParts(message, path, checks);
  if (!checks.Count(path + ".tool_calls", static_cast<size_t>(message.tool_calls_size()), kMaxAnswerCalls)) return;
  for (int i = 0; i < message.tool_calls_size() && !checks.is_full(); ++i) {
    const v1::ToolCall& call = message.tool_calls(i);
    const std::string call_path = Indexed(path, ".tool_calls", i);
    if (call.has_id()) checks.Length(call_path + ".id", call.id(), 1, kMaxCallNameBytes);
    checks.Length(call_path + ".name", call.name(), 1, kMaxCallNameBytes);
    // Whatever a model wrote as arguments, cut off or no JSON at all, comes back in the next request.
    checks.Length(call_path + ".arguments_json", call.arguments_json(), 0, kMaxJsonBytes);
  }
}

template <class Tools>
void CheckTools(const Tools& tools, std::string_view prefix, JsonChecks& json, FieldChecks& checks) {
  if (!checks.Count(std::string(prefix) + "tools", static_cast<size_t>(tools.size()), kMaxTools)) return;
  std::set<std::string_view> names;
  for (int i = 0; i < tools.size() && !checks.is_full(); ++i) {
    const v1::Tool& tool = tools[i];
    const std::string path = Indexed(prefix, "tools", i);
    checks.Length(path + ".name", tool.name(), 1, kMaxNameBytes);
    if (!names.insert(tool.name()).second) {
      checks.Invalid(path + ".name", "expected a name of its own, found that of a tool before it");
    }
    if (tool.has_parameters_json()) {
      json.Check(path + ".parameters_json", tool.parameters_json(), JsonKind::kObject);
    }
  }
}

std::string VariableField(std::string_view prefix, std::string_view name) {
  return absl::StrFormat("%stemplate_options.variables_json[%s]", prefix, CutText(name, kMaxNameBytes));
}

void CheckOptions(const v1::TemplateOptions& options, std::string_view prefix, JsonChecks& json, FieldChecks& checks) {
  const std::string path = std::string(prefix) + "template_options.";
  if (options.has_reasoning_effort()) {
    checks.Length(path + "reasoning_effort", options.reasoning_effort(), 1, kMaxNameBytes);
  }
  if (!checks.Count(path + "variables_json", static_cast<size_t>(options.variables_json_size()), kMaxVariables)) return;
  for (const auto& [name, value] : options.variables_json()) {
    const std::string field = VariableField(prefix, name);
    checks.Length(field, name, 1, kMaxNameBytes);
    json.Check(field, value, JsonKind::kAny);
  }
}

template <class Input>
void CheckToolChoice(const Input& chat, std::string_view prefix, FieldChecks& checks) {
  if (!chat.has_tool_choice()) return;
  const v1::ToolChoice& choice = chat.tool_choice();
  const std::string field = std::string(prefix) + "tool_choice";
  const bool is_none = choice.mode() == v1::TOOL_CHOICE_MODE_NONE;
  if (choice.kind_case() == v1::ToolChoice::KIND_NOT_SET) return checks.Invalid(field, "expected a mode or a function");
  if (chat.tools().empty() && !is_none) return checks.Invalid(field, "expected tools to choose from, found none");
  if (choice.kind_case() == v1::ToolChoice::kFunction) {
    const auto is_chosen = [&](const v1::Tool& tool) { return tool.name() == choice.function(); };
    if (std::none_of(chat.tools().begin(), chat.tools().end(), is_chosen)) {
      checks.Invalid(field + ".function", absl::StrFormat("expected the name of one of the tools, found %s",
                                                          QuotedExcerpt(choice.function())));
    }
    return checks.Unsupported(true, field + ".function", "an answer cannot be made to call yet");
  }
  checks.Unsupported(choice.mode() == v1::TOOL_CHOICE_MODE_REQUIRED, field + ".mode",
                     "an answer cannot be made to call yet");
  if (!is_none && choice.mode() != v1::TOOL_CHOICE_MODE_AUTO && choice.mode() != v1::TOOL_CHOICE_MODE_REQUIRED) {
    checks.Invalid(field + ".mode", absl::StrFormat("expected NONE, AUTO or REQUIRED, found %d", choice.mode()));
  }
}

template <class Input>
void CheckContinuation(const Input& chat, std::string_view prefix, FieldChecks& checks) {
  if (!chat.continue_final_message() || chat.messages().empty()) return;
  if (chat.add_generation_prompt()) {
    checks.Invalid(std::string(prefix) + "add_generation_prompt",
                   "expected false, or unset, together with continue_final_message");
  }
  const v1::ChatMessage& last = *chat.messages().rbegin();
  if ((last.has_content() || !last.content_parts().empty()) && last.tool_calls().empty()) return;
  checks.Invalid(std::string(prefix) + "continue_final_message",
                 "expected a last message with a content and without tool calls");
}

// Whether the template reads any of the names under which an option may reach it.
bool ReadsAny(const ChatTemplate& chat_template, std::span<const std::string_view> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return chat_template.ReadsVariable(name); });
}

class TemplateChecks {
 public:
  TemplateChecks(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model, FieldChecks& checks)
      : chat_(chat), prefix_(prefix), format_(model.FormatFor(chat.tools_size())), checks_(checks) {}

  void Run() {
    if (chat_.tools_size() > 0 && !chat_template().ReadsVariable("tools")) Unknown("tools");
    if (chat_.has_add_generation_prompt() && !chat_.add_generation_prompt() &&
        !chat_template().ReadsVariable("add_generation_prompt")) {
      Unknown("add_generation_prompt");
    }
    CheckOption(chat_.template_options().has_thinking(), "thinking", kThinkingVariables);
    CheckOption(chat_.template_options().has_reasoning_effort(), "reasoning_effort", kEffortVariables);
    for (const auto& [name, value] : chat_.template_options().variables_json()) CheckVariable(name);
    for (int i = 0; i < chat_.messages_size() && !checks_.is_full(); ++i) CheckMessage(i);
  }

 private:
  const ChatTemplate& chat_template() const { return *format_.chat_template; }

  void Unknown(std::string_view field) {
    checks_.Invalid(prefix_ + std::string(field), "the model's chat template does not know it; leave it unset");
  }

  void CheckOption(bool is_set, std::string_view option, std::span<const std::string_view> variables) {
    if (is_set && !ReadsAny(chat_template(), variables)) Unknown(absl::StrFormat("template_options.%s", option));
  }

  void CheckVariable(const std::string& name) {
    const v1::TemplateOptions& options = chat_.template_options();
    const auto is_one_of = [&](std::span<const std::string_view> names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    const std::string field = VariableField(prefix_, name);
    if (is_one_of(kServersVariables)) {
      checks_.Invalid(field, "expected a variable that the server does not set itself");
    } else if ((options.has_thinking() && is_one_of(kThinkingVariables)) ||
               (options.has_reasoning_effort() && is_one_of(kEffortVariables))) {
      checks_.Invalid(field, "expected either this or the template option of the same meaning, found both");
    } else if (!chat_template().ReadsVariable(name)) {
      checks_.Invalid(field, "the model's chat template has no such variable; leave it out");
    }
  }

  void CheckMessage(int index) {
    const v1::ChatMessage& message = chat_.messages(index);
    const std::string path = Indexed(prefix_, "messages", index);
    if (message.role() == "tool") CheckResult(message, path);
    if (message.tool_calls_size() == 0) return;
    const ToolCallStyle& style = format_.tool_call_style;
    if (!style.prints_calls()) {
      checks_.Invalid(path + ".tool_calls", "the model's chat template does not print tool calls; leave them out");
    } else if (!HasContent(message) ? !style.prints_only_calls() : !style.prints_text_and_calls()) {
      checks_.Invalid(path + ".content", !HasContent(message)
                                             ? "the model's chat template prints tool calls beside a text only"
                                             : "the model's chat template prints either a content or tool calls; leave "
                                               "the content unset");
    }
    calls_ = &message;
    num_results_ = 0;
    for (const v1::ToolCall& call : message.tool_calls()) {
      if (call.has_id()) call_ids_.insert(call.id());
    }
  }

  void CheckResult(const v1::ChatMessage& message, const std::string& path) {
    const int result = num_results_++;
    const std::string field = path + ".tool_call_id";
    if (!format_.tool_call_style.prints_results) {
      checks_.Invalid(path + ".role", "the model's chat template does not print messages of role tool; leave them out");
    } else if (chat_template().MentionsKey("tool_call_id")) {
      if (!call_ids_.contains(message.tool_call_id())) FailUnknownCall(message, field);
    } else if (message.has_tool_call_id()) {
      // The template leaves the id out: where a result stands says what it answers.
      if (!call_ids_.contains(message.tool_call_id())) return FailUnknownCall(message, field);
      if (calls_ == nullptr || result >= calls_->tool_calls_size()) return;
      const std::string& expected = calls_->tool_calls(result).id();
      if (message.tool_call_id() == expected) return;
      checks_.Invalid(field, absl::StrFormat("the model's chat template prints results in the order of their calls and "
                                             "without ids: expected %s here, found %s",
                                             QuotedExcerpt(expected), QuotedExcerpt(message.tool_call_id())));
    }
  }

  void FailUnknownCall(const v1::ChatMessage& message, const std::string& field) {
    checks_.Invalid(field, absl::StrFormat("expected the id of a tool call in a message before it, found %s",
                                           QuotedExcerpt(message.tool_call_id())));
  }

  const v1::ChatInput& chat_;
  const std::string prefix_;
  const ChatFormat& format_;
  FieldChecks& checks_;
  std::set<std::string_view> call_ids_;
  const v1::ChatMessage* calls_ = nullptr;  // the last message with calls
  int num_results_ = 0;                     // that came since
};

}  // namespace

template <class Input>
void CheckChat(const Input& chat, std::string_view prefix, FieldChecks& checks) {
  const std::string messages = std::string(prefix) + "messages";
  if (chat.messages().empty()) checks.Invalid(messages, "expected at least one message, found none");
  if (!checks.Count(messages, static_cast<size_t>(chat.messages_size()), kMaxMessages)) return;
  for (int i = 0; i < chat.messages_size() && !checks.is_full(); ++i) {
    CheckMessage(chat.messages(i), Indexed("", messages, i), checks);
  }
  JsonChecks json(checks);
  CheckTools(chat.tools(), prefix, json, checks);
  CheckOptions(chat.template_options(), prefix, json, checks);
  CheckToolChoice(chat, prefix, checks);
  CheckContinuation(chat, prefix, checks);
}

template void CheckChat(const v1::ChatRequest& chat, std::string_view prefix, FieldChecks& checks);
template void CheckChat(const v1::ChatInput& chat, std::string_view prefix, FieldChecks& checks);

void CheckTemplateKnows(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model,
                        FieldChecks& checks) {
  TemplateChecks(chat, prefix, model, checks).Run();
  CheckTemplatePrints(chat, prefix, model, checks);
}

}  // namespace latentd

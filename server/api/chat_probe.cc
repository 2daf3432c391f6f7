#include "server/api/chat_probe.h"

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "base/white_space.h"
#include "jinja/json_reader.h"
#include "jinja/json_shape.h"
#include "server/api/chat_context.h"

namespace latentd {
namespace {

constexpr size_t kMaxMarkedFields = 4096;  // of a call's arguments, and of all of them before it is one of each
constexpr std::string_view kLeaveOut = "the model's chat template does not print it; leave it out";

// Numbers survive what templates do to texts: trimming, quoting, another case. All have the same length, so that none
// is part of another.
std::string Mark(size_t number) { return absl::StrFormat("731%09u", number); }

bool Has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The numbers of all marks in it. One pass, however many there are.
std::unordered_set<std::string_view> MarksIn(std::string_view prompt) {
  constexpr size_t kMarkBytes = 12;
  std::unordered_set<std::string_view> marks;
  for (size_t at = prompt.find("731"); at != prompt.npos; at = prompt.find("731", at + 1)) {
    marks.insert(prompt.substr(at, kMarkBytes));
  }
  return marks;
}

// Fields of an object; 0 for anything else, 1 for one that has no end or far too much in it.
size_t NumFields(std::string_view json) {
  json = Trimmed(json);
  if (!json.starts_with('{') || Trimmed(json.substr(1)).starts_with('}')) return 0;
  const absl::StatusOr<jinja::JsonShape> shape = jinja::ShapeOfJson(json);
  if (!shape.ok() || shape->depth > kMaxJsonDepth || shape->num_values > kMaxMarkedFields) return 1;
  return jinja::ParseJson(json)->object().size();
}

std::string Rendered(const v1::ChatInput& chat, const ServedModel& model) {
  const ChatTemplate& chat_template = *model.FormatFor(chat.tools_size()).chat_template;
  const auto prompt = chat_template.Render(ChatContext(chat, model), {.list_changes = jinja::ListChanges::kOwnLists});
  return prompt.value_or("");
}

class Probe {
 public:
  Probe(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model)
      : chat_(chat), prefix_(prefix), model_(model), format_(model.FormatFor(chat.tools_size())), marked_(chat) {}

  void Check(FieldChecks& checks) {
    for (int i = 0; i < chat_.messages_size(); ++i) MarkMessage(i);
    if (format_.chat_template->ReadsVariable("tools")) {
      for (int i = 0; i < chat_.tools_size(); ++i) MarkTool(i);
    }
    if (expected_.empty()) return;
    marked_.set_safe_mode(false);
    const std::string prompt = Rendered(marked_, model_);
    if (prompt.empty()) return;  // its failure, or that of the real one, is the client's to see
    const std::unordered_set<std::string_view> printed = MarksIn(prompt);
    std::string_view last_field;
    size_t at = 0;
    for (const Expected& expected : expected_) {
      if (checks.is_full()) return;
      if (expected.field == last_field) continue;
      if (printed.contains(expected.mark) || IsPrintedOtherwise(expected, prompt, at)) continue;
      if (!prints_messages_) prints_messages_ = PrintsAnyMessage(chat_, model_);
      if (!*prints_messages_) return;
      last_field = expected.field;
      checks.Invalid(expected.field, expected.message);
    }
  }

 private:
  struct Expected {
    std::string mark;
    std::string field;
    std::string message;
    std::string_view instead = {};  // a text of the request that holds the same
  };

  // `at` is where the one before was found: they are printed in order, so all together are found in about one pass.
  static bool IsPrintedOtherwise(const Expected& expected, std::string_view prompt, size_t& at) {
    if (expected.instead.empty()) return false;
    size_t found = prompt.find(expected.instead, at);
    if (found == prompt.npos) found = prompt.find(expected.instead);
    if (found == prompt.npos) return false;
    at = found;
    return true;
  }

  std::string NewMark() { return Mark(++num_marks_); }

  std::string Expect(std::string field, std::string_view message, std::string_view instead = {}) {
    std::string mark = NewMark();
    expected_.push_back({mark, std::move(field), std::string(message), instead});
    return mark;
  }

  void MarkMessage(int index) {
    const v1::ChatMessage& message = chat_.messages(index);
    v1::ChatMessage& marked = *marked_.mutable_messages(index);
    const std::string path = absl::StrFormat("%smessages[%d]", prefix_, index);
    if (message.has_reasoning() && !message.reasoning().empty()) marked.set_reasoning(NewMark());
    for (int i = 0; i < message.content_parts_size(); ++i) {
      if (message.content_parts(i).text().empty()) continue;
      marked.mutable_content_parts(i)->set_text(Expect(absl::StrFormat("%s.content_parts[%d]", path, i), kLeaveOut));
    }
    if (!message.content().empty()) {
      // What the style says about contents beside calls, and about results, is found out and refused elsewhere.
      const bool is_told = message.tool_calls_size() > 0 ? PrintsCallsOf(message) : message.role() != "tool";
      marked.set_content(is_told ? Expect(path + ".content",
                                          absl::StrFormat("the model's chat template does not print it in a message of "
                                                          "role %s here; leave the message out",
                                                          message.role()))
                                 : NewMark());
    }
    // Which call a result answers says more than its name, and is looked after elsewhere.
    const bool is_of_call = message.role() == "tool" && has_calls_;
    if (message.has_name()) marked.set_name(is_of_call ? NewMark() : Expect(path + ".name", kLeaveOut));
    has_calls_ |= message.tool_calls_size() > 0;
    if (!PrintsCallsOf(message)) return;
    for (int i = 0; i < message.tool_calls_size(); ++i) {
      MarkCall(message.tool_calls(i), absl::StrFormat("%s.tool_calls[%d]", path, i), *marked.mutable_tool_calls(i));
    }
  }

  // Where not, that is refused elsewhere.
  bool PrintsCallsOf(const v1::ChatMessage& message) const {
    const ToolCallStyle& style = format_.tool_call_style;
    return !HasContent(message) ? style.prints_only_calls() : style.prints_text_and_calls();
  }

  void MarkCall(const v1::ToolCall& call, const std::string& path, v1::ToolCall& marked) {
    // Ids stay what they are: Kimi's hold the name, and some templates ask for a form of theirs.
    const std::string_view instead = Has(call.id(), call.name()) ? call.id() : std::string_view();
    marked.set_name(Expect(path + ".name",
                           absl::StrFormat("the model's chat template does not print it; expected an id that holds the "
                                           "name where the template prints the id, such as functions.%s:0",
                                           CutText(call.name(), 64)),
                           instead));
    size_t num_fields = NumFields(call.arguments_json());
    if (num_fields == 0) return;
    if ((num_marked_fields_ += num_fields) > kMaxMarkedFields) num_fields = 1;
    const std::string field = path + ".arguments_json";
    std::string members;
    for (size_t i = 0; i < num_fields; ++i) {
      const std::string key = Expect(field, kLeaveOut);
      members += absl::StrFormat(R"(%s"%s": "%s")", i == 0 ? "" : ", ", key, Expect(field, kLeaveOut));
    }
    marked.set_arguments_json("{" + members + "}");
  }

  void MarkTool(int index) {
    const v1::Tool& tool = chat_.tools(index);
    v1::Tool& marked = *marked_.mutable_tools(index);
    const std::string path = absl::StrFormat("%stools[%d]", prefix_, index);
    marked.set_name(Expect(path + ".name", kLeaveOut));
    if (!tool.description().empty()) marked.set_description(Expect(path + ".description", kLeaveOut));
    if (!Has(tool.parameters_json(), "\"properties\"")) return;
    const std::string field = path + ".parameters_json";
    const std::string property = Expect(field, kLeaveOut);
    marked.set_parameters_json(absl::StrFormat(
        R"({"type": "object", "properties": {"%s": {"type": "string", "description": "%s"}}, "required": ["%s"]})",
        property, Expect(field, kLeaveOut), property));
  }

  const v1::ChatInput& chat_;
  const std::string prefix_;
  const ServedModel& model_;
  const ChatFormat& format_;
  v1::ChatInput marked_;
  size_t num_marks_ = 0;
  size_t num_marked_fields_ = 0;
  std::vector<Expected> expected_;
  bool has_calls_ = false;  // of the messages so far
  std::optional<bool> prints_messages_;
};

}  // namespace

bool PrintsAnyMessage(const v1::ChatInput& chat, const ServedModel& model) {
  v1::ChatInput lone = chat;
  lone.clear_messages();
  v1::ChatMessage& message = *lone.add_messages();
  message.set_role("user");
  std::string& text = *message.add_content_parts()->mutable_text();  // templates without parts get it as one text
  text = "731000000000";
  const std::string prompt = Rendered(lone, model);
  text = "842999999999";  // no part of which is one of the other
  return prompt != Rendered(lone, model);
}

void CheckTemplatePrints(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model,
                         FieldChecks& checks) {
  Probe(chat, prefix, model).Check(checks);
}

}  // namespace latentd

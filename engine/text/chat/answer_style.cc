#include "engine/text/chat/answer_style.h"

#include <array>
#include <string>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>

#include "base/white_space.h"
#include "jinja/json_reader.h"

namespace latentd {
namespace {

using jinja::Value;

constexpr std::string_view kUser = R"({"role": "user", "content": "probe"})";
constexpr std::array<std::string_view, 2> kModes = {"thinking", "enable_thinking"};

// Far above what a template spends on a conversation of three short messages.
constexpr jinja::RenderLimits kLimits = {.text_bytes = size_t{1} << 20, .work = size_t{1} << 20};

class Prober {
 public:
  Prober(const ChatTemplate& chat_template, const ChatTemplate::Context& variables)
      : chat_template_(chat_template), variables_(variables) {}

  // Empty where it fails. `mode` is a variable that is set to false.
  std::string Render(const std::string& messages, std::string_view mode = {}) const {
    ChatTemplate::Context context = variables_;
    context.Set("messages", jinja::ParseJson("[" + messages + "]").value());  // of our own making, so it is JSON
    context.Set("add_generation_prompt", Value::Bool(true));
    if (!mode.empty()) context.Set(mode, Value::Bool(false));
    const auto prompt =
        chat_template_.Render(context, {.limits = kLimits, .list_changes = jinja::ListChanges::kOwnLists});
    return prompt.value_or("");
  }

  std::string RenderPast(std::string_view content) const {
    return Render(absl::StrFormat(R"(%s, {"role": "assistant", "content": "%s"}, %s)", kUser, content, kUser));
  }

 private:
  const ChatTemplate& chat_template_;
  const ChatTemplate::Context& variables_;
};

bool EndsWith(std::string_view text, std::string_view marker) { return TrimmedRight(text).ends_with(marker); }

bool CutsReasoning(const Prober& prober) {
  const std::string prompt = prober.RenderPast(absl::StrFormat("probe_before%sprobe_behind", kReasoningEndText));
  return absl::StrContains(prompt, "probe_behind") && !absl::StrContains(prompt, "probe_before");
}

// Also where there was none: past answers begin with both of its markers.
bool WritesReasoning(const Prober& prober) {
  const std::string prompt = prober.RenderPast("probe_content");
  std::string_view before = std::string_view(prompt).substr(0, prompt.find("probe_content"));
  if (before.size() == prompt.size() || !EndsWith(before, kReasoningEndText)) return false;
  before = TrimmedRight(before);
  before.remove_suffix(kReasoningEndText.size());
  return EndsWith(before, kReasoningBeginText);
}

bool BeginsWithReasoning(const Prober& prober, bool cuts_reasoning) {
  const std::string user(kUser);
  const std::string prompt = prober.Render(user);
  if (prompt.empty() || EndsWith(prompt, kReasoningEndText)) return false;
  if (!EndsWith(prompt, kReasoningBeginText)) return cuts_reasoning || WritesReasoning(prober);
  for (const std::string_view mode : kModes) {
    if (!EndsWith(prober.Render(user, mode), kReasoningBeginText)) return false;
  }
  return true;
}

}  // namespace

AnswerStyle FindAnswerStyle(const ChatTemplate& chat_template, const ChatTemplate::Context& variables) {
  const Prober prober(chat_template, variables);
  AnswerStyle style{.begins_with_reasoning = false, .cuts_reasoning = CutsReasoning(prober)};
  style.begins_with_reasoning = BeginsWithReasoning(prober, style.cuts_reasoning);
  return style;
}

}  // namespace latentd

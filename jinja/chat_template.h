// The checkpoint's own chat template: Jinja source to parse once, conversations to render with it. Immutable after
// Parse, so any thread may render. The engine behind it - lexer, parser, values, evaluator - is this folder.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "jinja/content_format.h"
#include "jinja/names.h"
#include "jinja/runtime.h"
#include "jinja/value.h"

namespace latentd {

class ChatTemplate {
 public:
  // Variables by name, in any order: messages, tools, add_generation_prompt, bos_token, the request's own options.
  // jinja::ParseJson makes values of messages and tools.
  using Context = jinja::Object;

  struct RenderOptions {
    jinja::RenderLimits limits = {};
    jinja::ListChanges list_changes = jinja::ListChanges::kRefused;
    std::optional<std::tm> now = std::nullopt;  // for strftime_now; the local time when absent
  };

  // INVALID_ARGUMENT with line, expectation and finding for a text that is no template.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source);

  // The prompt. As templates written for Hugging Face expect, `tools` and `documents` are none unless given, and a
  // message with reasoning has it under each of the names in use. INVALID_ARGUMENT when the conversation does not suit
  // the template; where the template itself said so with raise_exception, the status has exactly that message.
  absl::StatusOr<std::string> Render(const Context& context, const RenderOptions& options) const;
  absl::StatusOr<std::string> Render(const Context& context) const { return Render(context, {}); }
  // The same, and which of its bytes come from those values of the context that jinja::FromRequest made.
  absl::StatusOr<jinja::TracedText> RenderTraced(const Context& context, const RenderOptions& options) const;

  // Whether giving this variable can make a difference.
  bool ReadsVariable(std::string_view name) const { return names_.variables.contains(name); }
  // False where the template cannot look up this key of a message or of what is in it.
  bool MentionsKey(std::string_view name) const { return names_.keys.contains(name); }

  // How contents in parts reach it.
  jinja::ContentFormat content_format() const { return content_format_; }

 private:
  explicit ChatTemplate(std::vector<jinja::Statement> body);

  std::vector<std::string> later_names_;  // of the whole template
  std::shared_ptr<const std::vector<jinja::Statement>> body_;
  jinja::TemplateNames names_;
  jinja::ContentFormat content_format_;
};

}  // namespace latentd

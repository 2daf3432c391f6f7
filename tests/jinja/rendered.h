// Renders a template in one line of a test.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "jinja/chat_template.h"
#include "jinja/json_reader.h"

namespace latentd {

// `variables` is a JSON object.
inline absl::StatusOr<std::string> Render(std::string_view source, std::string_view variables = "{}",
                                          const ChatTemplate::RenderOptions& options = {}) {
  const absl::StatusOr<jinja::Value> context = jinja::ParseJson(variables);
  if (!context.ok()) return context.status();
  const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(context->object(), options);
}

// The prompt, or the error in brackets.
inline std::string Rendered(std::string_view source, std::string_view variables = "{}") {
  const absl::StatusOr<std::string> prompt = Render(source, variables);
  return prompt.ok() ? *prompt : "[" + std::string(prompt.status().message()) + "]";
}

}  // namespace latentd

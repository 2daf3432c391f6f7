// The chat templates that a model's directory brings, by name, from the places that transformers looks at.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

inline constexpr std::string_view kDefaultTemplate = "default";
inline constexpr std::string_view kToolUseTemplate = "tool_use";  // comes first where a conversation has tools

struct ChatTemplateSource {
  std::string name;
  std::string origin;                // the file, for messages
  absl::StatusOr<std::string> text;  // Jinja, or one line that says why it cannot be read
};

// Files of their own (chat_template.jinja is the default one, additional_chat_templates/NAME.jinja the others) replace
// those of tokenizer_config.json (one text, a list of named ones, or an object of them); where there are none of
// either, chat_template.json counts. Never fails: what is wrong with a template is found in its place.
std::vector<ChatTemplateSource> ReadChatTemplates(const std::filesystem::path& model_directory);

// One that lies anywhere.
ChatTemplateSource ReadChatTemplateFile(const std::filesystem::path& file);

const ChatTemplateSource* FindTemplate(const std::vector<ChatTemplateSource>& sources, std::string_view name);

}  // namespace latentd

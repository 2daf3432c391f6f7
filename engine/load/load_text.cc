#include "engine/load/load_text.h"

#include <filesystem>
#include <memory>
#include <utility>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "engine/text/chat/chat_templates.h"

namespace latentd {
namespace {

using Sources = std::vector<ChatTemplateSource>;

std::string NamesOf(const Sources& sources) {
  return absl::StrJoin(sources, ", ",
                       [](std::string* out, const ChatTemplateSource& source) { out->append(source.name); });
}

// A format without a template knows why, and so does the log.
ChatFormat FormatOf(const ChatTemplateSource& source, const Tokenizer& tokenizer, std::vector<std::string>& warnings) {
  absl::Status status = source.text.status();
  if (status.ok()) {
    absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(*source.text);
    if (parsed.ok()) return ChatFormatOf(*std::move(parsed), SpecialTokenVariables(tokenizer.config()));
    status = parsed.status();
  }
  const std::string why = absl::StrFormat("the chat template %s of %s cannot be used: %s", source.name, source.origin,
                                          std::string(status.message()));
  warnings.push_back(why + "; Chat is refused where it would be needed, all else is served");
  return {.chat_template = nullptr, .tool_call_style = {}, .answer_style = {}, .why_no_template = why};
}

// The template that --chat-template names: one of the model's, or a file.
absl::StatusOr<ChatTemplateSource> ChosenTemplate(const std::string& chosen, const Sources& sources) {
  if (const ChatTemplateSource* source = FindTemplate(sources, chosen)) return *source;
  ChatTemplateSource source = ReadChatTemplateFile(chosen);
  if (source.text.ok()) return source;
  if (!absl::IsNotFound(source.text.status())) {
    return absl::InvalidArgumentError("chat-template=" + std::string(source.text.status().message()));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("chat-template=%s: expected a file or the name of one of the model's templates (%s), found none",
                      chosen, sources.empty() ? "it has none" : NamesOf(sources)));
}

void UseOwnTemplates(const Sources& sources, ModelText& text) {
  if (const ChatTemplateSource* tool_use = FindTemplate(sources, kToolUseTemplate)) {
    text.tool_use = FormatOf(*tool_use, *text.tokenizer, text.warnings);
  }
  if (const ChatTemplateSource* plain = FindTemplate(sources, kDefaultTemplate)) {
    text.chat = FormatOf(*plain, *text.tokenizer, text.warnings);
  } else if (!sources.empty()) {
    text.chat.why_no_template = absl::StrFormat(
        "the model's chat templates are called %s, and none is the default; start the daemon with --chat-template NAME",
        NamesOf(sources));
    text.warnings.push_back(text.chat.why_no_template);
  } else {
    text.warnings.emplace_back("the model has no chat template: Chat is refused; --chat-template FILE gives it one");
  }
}

}  // namespace

absl::StatusOr<ModelText> LoadText(const LoadOptions& options) {
  const std::filesystem::path directory = options.model_directory;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(directory);
  ModelText text;
  if (absl::IsNotFound(tokenizer.status())) {
    text.warnings = {std::string(tokenizer.status().message()) + ": only token ids are served"};
    return text;
  }
  if (!tokenizer.ok()) return tokenizer.status();
  text.tokenizer = *std::move(tokenizer);
  text.answer_format = FindAnswerFormat(*text.tokenizer);
  text.warnings = text.tokenizer->warnings();
  const Sources sources = ReadChatTemplates(directory);
  if (options.chat_template.empty()) {
    UseOwnTemplates(sources, text);
    return text;
  }
  const absl::StatusOr<ChatTemplateSource> chosen = ChosenTemplate(options.chat_template, sources);
  if (!chosen.ok()) return chosen.status();
  text.chat = FormatOf(*chosen, *text.tokenizer, text.warnings);
  return text;
}

}  // namespace latentd

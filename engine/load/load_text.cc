#include "engine/load/load_text.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

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

// Comma-separated, as --eos-token-ids has them.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text, int vocab_size) {
  std::vector<int32_t> ids;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    int32_t id = -1;
    if (!absl::SimpleAtoi(part, &id) || id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrFormat("eos-token-ids: expected ids from 0 to %d, separated by commas, found \"%s\"", vocab_size - 1,
                          absl::Utf8SafeCEscape(part)));
    }
    ids.push_back(id);
  }
  return ids;
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

absl::Status AddEosIds(const LoadOptions& options, const Tokenizer* tokenizer, ModelConfig& config) {
  absl::StatusOr<std::vector<int32_t>> ids = ParseIds(options.eos_token_ids, config.vocab_size);
  if (!ids.ok()) return ids.status();
  if (tokenizer != nullptr && tokenizer->eos_id().value_or(config.vocab_size) < config.vocab_size) {
    ids->insert(ids->begin(), *tokenizer->eos_id());
  }
  for (const int32_t id : *ids) {
    if (std::find(config.eos_ids.begin(), config.eos_ids.end(), id) == config.eos_ids.end())
      config.eos_ids.push_back(id);
  }
  if (config.eos_ids.empty()) {
    config.warnings.emplace_back(
        "no file of the model names an end-of-sequence token: answers end at max_tokens or the request's own stops; "
        "--eos-token-ids names it");
  }
  return absl::OkStatus();
}

}  // namespace latentd

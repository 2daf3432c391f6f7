#include "engine/text/tokenizer_config.h"

#include <absl/strings/str_format.h>

#include "engine/text/json_file.h"
#include "engine/text/read_file.h"
#include "engine/text/utf8.h"

namespace latentd {
namespace {

constexpr size_t kMaxTemplateBytes = 1 << 20;

// A token is its text, or an object with the text as "content".
std::string ReadToken(JsonFile& json, JsonFile::Object root, std::string_view key) {
  const std::optional<JsonFile::Element> element = json.Find(root, key);
  if (!element) return {};
  JsonFile::Object token;
  if (element->get(token) == simdjson::SUCCESS) return std::string(json.RequireString(token, "content", key));
  return std::string(json.AsString(*element, key));
}

// One template, or a list of named ones of which the one called "default" counts.
std::string ReadTemplate(JsonFile& json, JsonFile::Object root) {
  const std::optional<JsonFile::Element> element = json.Find(root, "chat_template");
  if (!element) return {};
  JsonFile::Array list;
  if (element->get(list) != simdjson::SUCCESS) return std::string(json.AsString(*element, "chat_template"));
  for (const JsonFile::Element entry : list) {
    const std::optional<JsonFile::Object> named = json.AsObject(entry, "chat_template[]");
    if (!named) return {};
    if (json.RequireString(*named, "name", "chat_template[]") == "default") {
      return std::string(json.RequireString(*named, "template", "chat_template[]"));
    }
  }
  json.Refuse("chat_template", "a template named \"default\" in the list", "none");
  return {};
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& model_directory) {
  const absl::StatusOr<std::unique_ptr<JsonFile>> json = JsonFile::Load(model_directory / "tokenizer_config.json");
  if (!json.ok()) return json.status();
  const std::optional<JsonFile::Object> root = (*json)->AsObject((*json)->root(), "the document");
  if (!root) return (*json)->status();
  TokenizerConfig config{.bos_token = ReadToken(**json, *root, "bos_token"),
                         .eos_token = ReadToken(**json, *root, "eos_token"),
                         .pad_token = ReadToken(**json, *root, "pad_token"),
                         .unk_token = ReadToken(**json, *root, "unk_token"),
                         .add_bos_token = (*json)->Flag(*root, "add_bos_token", false, ""),
                         .chat_template = ReadTemplate(**json, *root)};
  if (!(*json)->ok()) return (*json)->status();

  const std::filesystem::path template_path = model_directory / "chat_template.jinja";
  absl::StatusOr<std::string> own_file = ReadFile(template_path, kMaxTemplateBytes);
  if (absl::IsNotFound(own_file.status())) return config;
  if (!own_file.ok()) return own_file.status();
  if (const auto at = FindInvalidUtf8(*own_file)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected UTF-8, found another byte at %d", template_path.string(), *at));
  }
  config.chat_template = *std::move(own_file);
  return config;
}

}  // namespace latentd

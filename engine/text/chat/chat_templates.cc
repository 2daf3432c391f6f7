#include "engine/text/chat/chat_templates.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/file.h"
#include "base/json_file.h"
#include "base/utf8.h"

namespace latentd {
namespace {

constexpr size_t kMaxTemplateBytes = 1 << 20;
constexpr size_t kMaxTemplates = 64;

using Sources = std::vector<ChatTemplateSource>;

absl::StatusOr<std::string> ReadText(const std::filesystem::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxTemplateBytes);
  if (!text.ok()) return text;
  if (const auto at = FindInvalidUtf8(*text)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected UTF-8, found another byte at %d", path.string(), *at));
  }
  return text;
}

// The templates in one JSON file, of which the first thing that is wrong is told in place of the default one.
class JsonTemplates {
 public:
  JsonTemplates(JsonFile& json, std::string origin) : json_(json), origin_(std::move(origin)) {}

  Sources Read() {
    if (const auto root = json_.AsObject(json_.root(), "the document")) {
      if (const auto element = json_.Find(*root, "chat_template")) ReadTemplates(*element);
    }
    if (!json_.ok()) {
      std::erase_if(sources_, [](const ChatTemplateSource& source) { return source.name == kDefaultTemplate; });
      sources_.push_back({std::string(kDefaultTemplate), origin_, json_.status()});
    }
    return std::move(sources_);
  }

 private:
  void ReadTemplates(JsonFile::Element element) {
    JsonFile::Array list;
    JsonFile::Object named;
    if (element.get(named) == simdjson::SUCCESS) {
      for (const auto& [name, text] : named) Add(name, json_.AsString(text, "chat_template"));
    } else if (element.get(list) == simdjson::SUCCESS) {
      for (const JsonFile::Element entry : list) {
        const auto object = json_.AsObject(entry, "chat_template[]");
        if (!object) return;
        Add(json_.RequireString(*object, "name", "chat_template[]"),
            json_.RequireString(*object, "template", "chat_template[]"));
      }
    } else {
      Add(kDefaultTemplate, json_.AsString(element, "chat_template"));
    }
  }

  // Where two have one name, the later one counts.
  void Add(std::string_view name, std::string_view text) {
    if (!json_.ok() || text.empty()) return;
    if (text.size() > kMaxTemplateBytes || sources_.size() == kMaxTemplates) {
      return json_.Refuse("chat_template",
                          absl::StrFormat("at most %d templates of at most %d bytes", kMaxTemplates, kMaxTemplateBytes),
                          "more");
    }
    std::erase_if(sources_, [&](const ChatTemplateSource& source) { return source.name == name; });
    sources_.push_back({std::string(name), origin_, std::string(text)});
  }

  JsonFile& json_;
  const std::string origin_;
  Sources sources_;
};

Sources FromJson(const std::filesystem::path& path) {
  const absl::StatusOr<std::unique_ptr<JsonFile>> json = JsonFile::Load(path);
  if (absl::IsNotFound(json.status())) return {};
  const std::string origin = path.filename().string();
  if (!json.ok()) return {{std::string(kDefaultTemplate), origin, json.status()}};
  return JsonTemplates(**json, origin).Read();
}

Sources FromFiles(const std::filesystem::path& directory) {
  Sources sources;
  ChatTemplateSource own = ReadChatTemplateFile(directory / "chat_template.jinja");
  if (!absl::IsNotFound(own.text.status())) sources.push_back(std::move(own));
  std::vector<std::filesystem::path> others;
  std::error_code error;  // no such folder: no such files
  for (std::filesystem::directory_iterator it(directory / "additional_chat_templates", error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".jinja" && others.size() < kMaxTemplates) others.push_back(it->path());
  }
  std::sort(others.begin(), others.end());
  for (const std::filesystem::path& path : others) {
    const std::string name = path.stem().string();
    // As transformers, which reads it last.
    std::erase_if(sources, [&](const ChatTemplateSource& source) { return source.name == name; });
    sources.push_back({name, "additional_chat_templates/" + path.filename().string(), ReadText(path)});
  }
  return sources;
}

}  // namespace

ChatTemplateSource ReadChatTemplateFile(const std::filesystem::path& file) {
  return {std::string(kDefaultTemplate), file.filename().string(), ReadText(file)};
}

std::vector<ChatTemplateSource> ReadChatTemplates(const std::filesystem::path& model_directory) {
  if (Sources files = FromFiles(model_directory); !files.empty()) return files;
  if (Sources config = FromJson(model_directory / "tokenizer_config.json"); !config.empty()) return config;
  return FromJson(model_directory / "chat_template.json");
}

const ChatTemplateSource* FindTemplate(const std::vector<ChatTemplateSource>& sources, std::string_view name) {
  for (const ChatTemplateSource& source : sources) {
    if (source.name == name) return &source;
  }
  return nullptr;
}

}  // namespace latentd

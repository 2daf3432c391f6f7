#include "engine/text/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include <absl/strings/str_format.h>

#include "base/json_file.h"
#include "base/quoting.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace latentd {
namespace {

using Element = JsonFile::Element;
using Object = JsonFile::Object;

// Reads tokenizer_config.json, or special_tokens_map.json, which has the same keys.
class ConfigReader {
 public:
  ConfigReader(JsonFile& json, TokenizerConfig& config) : json_(json), config_(config) {}

  void ReadNames(Object root) {
    ReadName(root, "bos_token", config_.bos_token);
    ReadName(root, "eos_token", config_.eos_token);
    ReadName(root, "pad_token", config_.pad_token);
    ReadName(root, "unk_token", config_.unk_token);
    std::string unused;
    for (const std::string_view key : {"sep_token", "cls_token", "mask_token"}) ReadName(root, key, unused);
    for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) ReadExtra(root, key);
  }

  void ReadSwitches(Object root) {
    const auto flag = [&](std::string_view key) {
      return json_.Find(root, key) ? std::optional(json_.Flag(root, key, false, "")) : std::nullopt;
    };
    config_.add_bos_token = flag("add_bos_token");
    config_.add_eos_token = flag("add_eos_token");
    config_.splits_special_tokens = json_.Flag(root, "split_special_tokens", false, "");
    config_.cleans_up_spaces = json_.Flag(root, "clean_up_tokenization_spaces", false, "");
    if (const auto name = json_.Find(root, "tokenizer_class")) {
      config_.tokenizer_class = json_.AsString(*name, "tokenizer_class");
    }
  }

  // {"0": {"content": "<s>", …}}
  void ReadDecoder(Element decoder) {
    const auto entries = json_.AsObject(decoder, "added_tokens_decoder");
    if (!entries) return;
    for (const auto& [key, value] : *entries) {
      if (!json_.ok()) return;
      const std::string where = absl::StrFormat("added_tokens_decoder[%s]", QuotedExcerpt(key));
      int32_t id = TokenizerConfig::kNoId;
      const char* end = key.data() + key.size();
      if (std::from_chars(key.data(), end, id).ptr != end || id < 0 || id >= Vocabulary::kMaxTokens) {
        return json_.Refuse(where, absl::StrFormat("an id from 0 to %d", Vocabulary::kMaxTokens - 1), "another");
      }
      AddedToken token = ReadToken(value, where);
      token.id = id;
      config_.listed_tokens.push_back({std::move(token), ListedToken::Kind::kListed, {}});
    }
  }

  // {"<s>": 0}
  void ReadIds(Object root) {
    for (const auto& [content, id] : root) {
      if (!json_.ok()) return;
      const std::string where = QuotedExcerpt(content);
      const bool special = IsNamed(content);
      AddedToken token{.id = json_.AsInteger(id, where, Vocabulary::kMaxTokens),
                       .content = std::string(content),
                       .special = special,
                       .normalized = !special};
      config_.listed_tokens.push_back({std::move(token), ListedToken::Kind::kListed, {}});
    }
  }

 private:
  // A token is its text, or an object with the text as "content".
  AddedToken ReadToken(Element element, std::string_view where) {
    Object object;
    if (element.get(object) != simdjson::SUCCESS) {
      return {.id = TokenizerConfig::kNoId, .content = std::string(json_.AsString(element, where)), .special = true};
    }
    const bool special = json_.Flag(object, "special", false, where);
    return {.id = TokenizerConfig::kNoId,
            .content = std::string(json_.RequireString(object, "content", where)),
            .special = special,
            .normalized = json_.Flag(object, "normalized", !special, where),
            .single_word = json_.Flag(object, "single_word", false, where),
            .lstrip = json_.Flag(object, "lstrip", false, where),
            .rstrip = json_.Flag(object, "rstrip", false, where)};
  }

  void ReadName(Object root, std::string_view key, std::string& name) {
    const std::optional<Element> element = json_.Find(root, key);
    if (!element) return;
    Forget(key);
    name = AddNamed(*element, key, ListedToken::Kind::kName);
  }

  // Returns its text.
  std::string AddNamed(Element element, std::string_view key, ListedToken::Kind kind_of_object) {
    AddedToken token = ReadToken(element, key);
    token.special = true;
    std::string content = token.content;
    const ListedToken::Kind kind = element.is_object() ? kind_of_object : ListedToken::Kind::kText;
    if (!content.empty()) config_.listed_tokens.push_back({std::move(token), kind, std::string(key)});
    return content;
  }

  // What the file before said under that key.
  void Forget(std::string_view key) {
    std::erase_if(config_.listed_tokens, [&](const ListedToken& listed) { return listed.key == key; });
  }

  // A list, or an object of them by name.
  void ReadExtra(Object root, std::string_view key) {
    const std::optional<Element> element = json_.Find(root, key);
    if (!element) return;
    const auto add = [&](Element each) { AddNamed(each, key, ListedToken::Kind::kAdditional); };
    Object named;
    if (element->get(named) == simdjson::SUCCESS) {
      for (const auto& [name, value] : named) add(value);
    } else if (const auto list = json_.AsArray(*element, key)) {
      for (const Element each : *list) add(each);
    }
  }

  bool IsNamed(std::string_view content) const {
    return std::any_of(config_.listed_tokens.begin(), config_.listed_tokens.end(), [&](const ListedToken& listed) {
      return listed.token.special && listed.token.content == content;
    });
  }

  JsonFile& json_;
  TokenizerConfig& config_;
};

// Lets `read` take the file's object; a file that is not there is as an empty one.
template <class Read>
absl::Status ReadObject(const std::filesystem::path& path, TokenizerConfig& config, const Read& read) {
  const absl::StatusOr<std::unique_ptr<JsonFile>> json = JsonFile::Load(path);
  if (absl::IsNotFound(json.status())) return absl::OkStatus();
  if (!json.ok()) return json.status();
  if (const auto root = (*json)->AsObject((*json)->root(), "the document")) {
    read(ConfigReader(**json, config), **json, *root);
  }
  return (*json)->status();
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& model_directory) {
  TokenizerConfig config;
  absl::Status status = ReadObject(model_directory / "tokenizer_config.json", config,
                                   [&](ConfigReader reader, JsonFile& json, Object root) {
                                     reader.ReadNames(root);
                                     reader.ReadSwitches(root);
                                     const auto decoder = json.Find(root, "added_tokens_decoder");
                                     config.has_decoder = decoder.has_value();
                                     if (decoder) reader.ReadDecoder(*decoder);
                                   });
  // As transformers: only where the newer file has no list, and then they come before it.
  if (status.ok() && !config.has_decoder) {
    status = ReadObject(model_directory / "special_tokens_map.json", config,
                        [](ConfigReader reader, JsonFile&, Object root) { reader.ReadNames(root); });
  }
  if (status.ok() && !config.has_decoder) {
    status = ReadObject(model_directory / "added_tokens.json", config,
                        [](ConfigReader reader, JsonFile&, Object root) { reader.ReadIds(root); });
  }
  if (!status.ok()) return status;
  return config;
}

}  // namespace latentd

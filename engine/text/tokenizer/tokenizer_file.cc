#include "engine/text/tokenizer/tokenizer_file.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/str_format.h>

#include "base/json_file.h"
#include "base/quoting.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace latentd {
namespace {

using Element = JsonFile::Element;
using Object = JsonFile::Object;

constexpr int kMaxNestedSequences = 8;  // bounds the recursion
constexpr size_t kMaxStages = 64;       // the longest published sequence has 7
constexpr size_t kMaxAddedTokenBytes = 1024;
// For tokenizers of other kinds.
std::string OfAnotherKind(std::string_view found) {
  return absl::StrFormat(
      "%s; only byte-level BPE is computed here: serve token ids, without tokenizer.json and tokenizer_config.json",
      found);
}

std::string Member(std::string_view where, size_t index) { return absl::StrFormat("%s[%d]", where, index); }

class TokenizerFileReader {
 public:
  explicit TokenizerFileReader(JsonFile& json) : json_(json) {}

  TokenizerFile Read() {
    const std::optional<Object> root = json_.AsObject(json_.root(), "the document");
    if (!root) return {};
    ReadNormalizer(*root);
    ReadDecoder(*root);
    if (const auto stage = RequirePart(*root, "pre_tokenizer")) ReadStage(*stage, "pre_tokenizer", 0);
    CheckByteLevelIsLast();
    ReadAddedTokens(*root);
    file_.frame = ReadPostProcessor(json_, *root);
    if (const auto element = json_.Require(*root, "model", "")) {
      if (const auto model = json_.AsObject(*element, "model")) ReadModel(*model);
    }
    return std::move(file_);
  }

 private:
  // One that every byte-level tokenizer has.
  std::optional<Element> RequirePart(Object root, std::string_view key) {
    std::optional<Element> element = json_.Find(root, key);
    if (!element) json_.Refuse(key, "a value, with ByteLevel in it", OfAnotherKind("none"));
    return element;
  }

  void ReadNormalizer(Object root) {
    const std::optional<Element> element = json_.Find(root, "normalizer");
    if (!element) return;
    const std::optional<Object> normalizer = json_.AsObject(*element, "normalizer");
    if (!normalizer) return;
    const std::string_view type = json_.RequireString(*normalizer, "type", "normalizer");
    if (type != "Sequence") {
      return json_.Refuse("normalizer.type", "no normalizer", OfAnotherKind(QuotedExcerpt(type)));
    }
    const std::optional<Element> parts = json_.Require(*normalizer, "normalizers", "normalizer");
    if (!parts) return;
    const auto array = json_.AsArray(*parts, "normalizer.normalizers");
    if (array && array->size() > 0) {
      json_.Refuse("normalizer.normalizers", "an empty list", OfAnotherKind("a normalizer"));
    }
  }

  void ReadDecoder(Object root) {
    const std::optional<Element> element = RequirePart(root, "decoder");
    if (!element) return;
    const std::optional<Object> decoder = json_.AsObject(*element, "decoder");
    if (!decoder) return;
    const std::string_view type = json_.RequireString(*decoder, "type", "decoder");
    if (type != "ByteLevel") {
      json_.Refuse("decoder.type", "ByteLevel", OfAnotherKind(QuotedExcerpt(type)));
    }
  }

  void ReadStage(Element element, const std::string& where, int depth) {
    const std::optional<Object> stage = json_.AsObject(element, where);
    if (!stage) return;
    if (file_.stages.size() >= kMaxStages) return json_.Refuse(where, absl::StrFormat("%d stages", kMaxStages), "more");
    const std::string_view type = json_.RequireString(*stage, "type", where);
    if (type == "Sequence") return ReadSequence(*stage, where, depth);
    if (type == "Split") return ReadSplit(*stage, where);
    if (type == "Digits") {
      file_.stages.emplace_back(DigitsStage{.individual = json_.Flag(*stage, "individual_digits", false, where)});
    } else if (type == "ByteLevel") {
      file_.stages.emplace_back(ByteLevelStage{.add_prefix_space = json_.Flag(*stage, "add_prefix_space", true, where),
                                               .use_regex = json_.Flag(*stage, "use_regex", true, where)});
    } else {
      json_.Refuse(MemberName(where, "type"), "Sequence, Split, Digits or ByteLevel",
                   OfAnotherKind(QuotedExcerpt(type)));
    }
  }

  void ReadSequence(Object sequence, const std::string& where, int depth) {
    if (depth >= kMaxNestedSequences) return json_.Refuse(where, "fewer nested sequences", "more");
    const std::optional<Element> element = json_.Require(sequence, "pretokenizers", where);
    if (!element) return;
    const std::string name = MemberName(where, "pretokenizers");
    const auto parts = json_.AsArray(*element, name);
    if (!parts) return;
    size_t index = 0;
    for (const Element part : *parts) ReadStage(part, Member(name, index++), depth + 1);
  }

  void ReadSplit(Object stage, const std::string& where) {
    SplitStage split;
    split.behavior = ReadBehavior(json_.RequireString(stage, "behavior", where), where);
    split.invert = json_.Flag(stage, "invert", false, where);
    const std::optional<Element> element = json_.Require(stage, "pattern", where);
    if (!element) return;
    const std::optional<Object> pattern = json_.AsObject(*element, MemberName(where, "pattern"));
    if (!pattern) return;
    const bool literal = json_.Find(*pattern, "String").has_value();
    split.kind = literal ? SplitStage::PatternKind::kLiteral : SplitStage::PatternKind::kRegex;
    split.pattern = json_.RequireString(*pattern, literal ? "String" : "Regex", MemberName(where, "pattern"));
    file_.stages.emplace_back(std::move(split));
  }

  SplitBehavior ReadBehavior(std::string_view name, const std::string& where) {
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    json_.Refuse(MemberName(where, "behavior"), "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous",
                 QuotedExcerpt(name));
    return SplitBehavior::kIsolated;
  }

  // Only there do pieces become bytes: no stage may follow it, and without it BPE would need another alphabet.
  void CheckByteLevelIsLast() {
    if (!json_.ok()) return;
    for (size_t i = 0; i < file_.stages.size(); ++i) {
      const bool last = i + 1 == file_.stages.size();
      if (std::holds_alternative<ByteLevelStage>(file_.stages[i]) != last) {
        return json_.Refuse("pre_tokenizer", "one ByteLevel stage, the last", absl::StrFormat("stage %d breaks it", i));
      }
    }
    if (file_.stages.empty()) json_.Refuse("pre_tokenizer", "one ByteLevel stage, the last", "no stages");
  }

  void ReadAddedTokens(Object root) {
    const std::optional<Element> element = json_.Find(root, "added_tokens");
    if (!element) return;
    const auto tokens = json_.AsArray(*element, "added_tokens");
    if (!tokens) return;
    for (const Element token : *tokens) {
      if (!json_.ok()) return;
      ReadAddedToken(token, Member("added_tokens", file_.added_tokens.size()));
    }
  }

  void ReadAddedToken(Element element, const std::string& where) {
    const std::optional<Object> object = json_.AsObject(element, where);
    if (!object) return;
    const std::optional<Element> id = json_.Require(*object, "id", where);
    if (!id) return;
    const bool special = json_.Flag(*object, "special", false, where);
    AddedToken token{.id = json_.AsInteger(*id, MemberName(where, "id"), Vocabulary::kMaxTokens),
                     .content = std::string(json_.RequireString(*object, "content", where)),
                     .special = special,
                     .normalized = json_.Flag(*object, "normalized", !special, where),
                     .single_word = json_.Flag(*object, "single_word", false, where),
                     .lstrip = json_.Flag(*object, "lstrip", false, where),
                     .rstrip = json_.Flag(*object, "rstrip", false, where)};
    if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
      json_.Refuse(MemberName(where, "content"), absl::StrFormat("1 to %d bytes", kMaxAddedTokenBytes),
                   absl::StrFormat("%d", token.content.size()));
    }
    const auto [before, is_new] = added_.emplace(token.content, file_.added_tokens.size());
    if (is_new) return file_.added_tokens.push_back(std::move(token));
    // Written twice it is one token.
    const AddedToken& other = file_.added_tokens[before->second];
    if (other == token) return;
    json_.Refuse(where, absl::StrFormat("%s once, or twice the same", QuotedExcerpt(token.content)),
                 other.id == token.id
                     ? "it with other flags before; remove one of them"
                     : absl::StrFormat("it with the ids %d and %d; remove one of them", other.id, token.id));
  }

  void ReadModel(Object model) {
    if (const auto type = json_.Find(model, "type")) {
      const std::string_view name = json_.AsString(*type, "model.type");
      if (name != "BPE") json_.Refuse("model.type", "BPE", OfAnotherKind(QuotedExcerpt(name)));
    }
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const std::optional<Element> affix = json_.Find(model, key);
      if (affix && !json_.AsString(*affix, MemberName("model", key)).empty()) {
        json_.Refuse(MemberName("model", key), "none", *affix);
      }
    }
    double dropout = 0;
    const std::optional<Element> element = json_.Find(model, "dropout");
    if (element && (element->get(dropout) != simdjson::SUCCESS || dropout != 0)) {
      json_.Refuse("model.dropout", "none", *element);
    }
    if (json_.Flag(model, "byte_fallback", false, "model")) json_.Refuse("model.byte_fallback", "false", "true");
    file_.ignore_merges = json_.Flag(model, "ignore_merges", false, "model");
    if (const auto vocabulary = json_.Require(model, "vocab", "model")) ReadVocabulary(*vocabulary);
    if (const auto merges = json_.Require(model, "merges", "model")) ReadMerges(*merges);
  }

  void ReadVocabulary(Element element) {
    const std::optional<Object> object = json_.AsObject(element, "model.vocab");
    if (!object) return;
    for (const auto& [key, id] : *object) {
      if (!json_.ok()) return;
      int64_t value = -1;
      if (id.get(value) != simdjson::SUCCESS || value < 0 || value >= Vocabulary::kMaxTokens) {
        json_.AsInteger(id, absl::StrFormat("model.vocab[%s]", QuotedExcerpt(key)), Vocabulary::kMaxTokens);
      }
      file_.vocabulary.emplace_back(key, static_cast<int32_t>(value));
    }
  }

  // "a b" in older files, ["a", "b"] in newer ones.
  void ReadMerges(Element element) {
    const auto merges = json_.AsArray(element, "model.merges");
    if (!merges) return;
    for (const Element merge : *merges) {
      if (!json_.ok()) return;
      if (!ReadMerge(merge)) {
        json_.Refuse(Member("model.merges", file_.merges.size()), "two tokens, [a, b] or \"a b\"", merge);
      }
    }
  }

  bool ReadMerge(Element merge) {
    std::string_view left, right;
    JsonFile::Array pair;
    if (merge.get(pair) == simdjson::SUCCESS) {
      if (pair.size() != 2 || pair.at(0).get(left) != simdjson::SUCCESS || pair.at(1).get(right) != simdjson::SUCCESS) {
        return false;
      }
    } else {
      std::string_view text;
      if (merge.get(text) != simdjson::SUCCESS) return false;
      const size_t blank = text.find(' ');
      if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) return false;
      left = text.substr(0, blank);
      right = text.substr(blank + 1);
    }
    file_.merges.emplace_back(left, right);
    return true;
  }

  JsonFile& json_;
  TokenizerFile file_;
  absl::flat_hash_map<std::string, size_t> added_;  // where the token of that content is
};

}  // namespace

absl::StatusOr<TokenizerFile> ReadTokenizerFile(const std::filesystem::path& path) {
  const absl::StatusOr<std::unique_ptr<JsonFile>> json = JsonFile::Load(path);
  if (!json.ok()) return json.status();
  TokenizerFile file = TokenizerFileReader(**json).Read();
  if (!(*json)->ok()) return (*json)->status();
  return file;
}

}  // namespace latentd

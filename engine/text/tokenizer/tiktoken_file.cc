#include "engine/text/tokenizer/tiktoken_file.h"

#include <optional>
#include <string>

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>

#include "base/file.h"
#include "base/json_file.h"
#include "base/quoting.h"

namespace latentd {

const std::string_view kTiktokenPattern =
    R"([\p{Han}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

constexpr size_t kMaxFileBytes = 64 << 20;  // the largest published tiktoken.model has 4 MB
constexpr size_t kMaxTokenBytes = 1024;     // bounds the ways to cut a token in two
constexpr int32_t kNumSpecialIds = 256;     // behind the ranks; those without an entry have a name of their own
constexpr int32_t kMaxRanks = Vocabulary::kMaxTokens - kNumSpecialIds;

using IdByBytes = absl::flat_hash_map<std::string, int32_t>;

std::optional<int32_t> FindId(const IdByBytes& ids, std::string_view bytes) {
  const auto found = ids.find(absl::string_view(bytes.data(), bytes.size()));
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

// Only the canonical writing: absl passes over blanks and missing padding.
std::optional<std::string> BytesOfBase64(std::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(ToAbsl(text), &bytes) || absl::Base64Escape(bytes) != text) return std::nullopt;
  return bytes;
}

class RankReader {
 public:
  explicit RankReader(const std::filesystem::path& path) : path_(path) {}

  absl::StatusOr<TokenTables> Read() {
    const absl::StatusOr<std::string> text = ReadFile(path_, kMaxFileBytes);
    if (!text.ok()) return text.status();
    int line = 0;
    for (size_t begin = 0; begin < text->size();) {
      const size_t end = std::min(text->find('\n', begin), text->size());
      const absl::Status status = ReadLine(std::string_view(*text).substr(begin, end - begin), ++line);
      if (!status.ok()) return status;
      begin = end + 1;
    }
    return Build();
  }

 private:
  absl::Status ReadLine(std::string_view line, int number) {
    if (line.empty()) return absl::OkStatus();
    const size_t blank = std::min(line.find(' '), line.size());
    const std::optional<std::string> bytes = BytesOfBase64(line.substr(0, blank));
    if (!bytes || bytes->empty() || bytes->size() > kMaxTokenBytes) {
      return Refuse(number, absl::StrFormat("base64 of 1 to %d bytes", kMaxTokenBytes), line.substr(0, blank));
    }
    const std::string_view rank_text = line.substr(std::min(blank + 1, line.size()));
    int32_t rank = -1;
    const bool digits = rank_text.find_first_not_of("0123456789") == std::string_view::npos;
    if (!digits || !absl::SimpleAtoi(ToAbsl(rank_text), &rank) || rank >= kMaxRanks) {
      return Refuse(number, absl::StrFormat("a rank from 0 to %d behind a blank", kMaxRanks - 1), rank_text);
    }
    if (!ids_.emplace(*bytes, rank).second) return Refuse(number, "each token once", *bytes);
    if (tables_.vocabulary.Has(rank)) return Refuse(number, "each rank once", rank_text);
    return tables_.vocabulary.Add(rank, *bytes);
  }

  absl::StatusOr<TokenTables> Build() {
    if (ids_.empty()) return Refuse("lines of a token and its rank, found none");
    const int num_ranks = tables_.vocabulary.size();
    for (int32_t rank = 0; rank < num_ranks; ++rank) {
      if (!tables_.vocabulary.Has(rank)) {
        return Refuse(absl::StrFormat("each rank from 0 to %d, found no rank %d", num_ranks - 1, rank));
      }
    }
    std::array<int32_t, 256> byte_ids;
    for (size_t byte = 0; byte < byte_ids.size(); ++byte) {
      const std::optional<int32_t> id = FindId(ids_, std::string(1, static_cast<char>(byte)));
      if (!id) return Refuse(absl::StrFormat("a token for each byte, found none for 0x%02X", byte));
      byte_ids[byte] = *id;
    }
    tables_.bpe = Bpe(byte_ids);
    for (const auto& [bytes, id] : ids_) {
      tables_.bpe.AddWholePiece(bytes, id);
      AddMergesInto(bytes, id);
    }
    return std::move(tables_);
  }

  // tiktoken merges whichever two neighbours make a token together: each way to cut a token in two tokens is a merge.
  void AddMergesInto(std::string_view bytes, int32_t id) {
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      const std::optional<int32_t> left = FindId(ids_, bytes.substr(0, cut));
      if (!left) continue;
      const std::optional<int32_t> right = FindId(ids_, bytes.substr(cut));
      if (right) tables_.bpe.AddMerge(*left, *right, id, static_cast<uint32_t>(id));
    }
  }

  absl::Status Refuse(int line, std::string_view expected, std::string_view found) const {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s:%d: expected %s, found %s", path_.string(), line, expected, QuotedExcerpt(found)));
  }
  absl::Status Refuse(std::string_view expected) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected %s", path_.string(), expected));
  }

  const std::filesystem::path path_;
  IdByBytes ids_;
  TokenTables tables_{.vocabulary = {}, .added_ids = {}, .bpe = Bpe({})};
};

class SpecialTokenReader {
 public:
  SpecialTokenReader(JsonFile& json, TiktokenFile& file)
      : json_(json), file_(file), first_id_(file.tables.vocabulary.size()) {}

  absl::Status Read() {
    if (const auto root = json_.AsObject(json_.root(), "the document")) {
      if (const auto decoder = json_.Require(*root, "added_tokens_decoder", "")) ReadEntries(*decoder);
    }
    for (int32_t id = first_id_; json_.ok() && id < first_id_ + kNumSpecialIds; ++id) {
      if (!file_.tables.vocabulary.Has(id)) {
        Add({.id = id, .content = absl::StrFormat("<|reserved_token_%d|>", id), .special = true});
      }
    }
    return json_.status();
  }

 private:
  void ReadEntries(JsonFile::Element element) {
    const auto entries = json_.AsObject(element, "added_tokens_decoder");
    if (!entries) return;
    for (const auto& [key, value] : *entries) {
      if (!json_.ok()) return;
      const std::string where = absl::StrFormat("added_tokens_decoder[%s]", QuotedExcerpt(key));
      int32_t id = -1;
      if (!absl::SimpleAtoi(ToAbsl(key), &id) || id < first_id_ || id >= Vocabulary::kMaxTokens) {
        json_.Refuse(where,
                     absl::StrFormat("an id from %d, behind the ranks, to %d", first_id_, Vocabulary::kMaxTokens - 1),
                     QuotedExcerpt(key));
        return;
      }
      const auto object = json_.AsObject(value, where);
      if (!object) return;
      Add({.id = id,
           .content = std::string(json_.RequireString(*object, "content", where)),
           .special = json_.Flag(*object, "special", false, where)});
    }
  }

  // tiktoken looks at none of the flags lstrip, rstrip, normalized and single_word.
  void Add(AddedToken token) {
    if (!json_.ok()) return;
    const std::string where = absl::StrFormat("added_tokens_decoder[\"%d\"]", token.id);
    if (token.content.empty() || token.content.size() > kMaxTokenBytes) {
      return json_.Refuse(where, absl::StrFormat("1 to %d bytes of content", kMaxTokenBytes),
                          absl::StrFormat("%d", token.content.size()));
    }
    if (file_.tables.vocabulary.Has(token.id)) return json_.Refuse(where, "each id once", "it twice");
    if (!file_.tables.added_ids.emplace(token.content, token.id).second) {
      return json_.Refuse(where, "one id for each content", QuotedExcerpt(token.content) + " twice");
    }
    const absl::Status added = file_.tables.vocabulary.Add(token.id, token.content);
    if (!added.ok()) return json_.Refuse(where, "an id of its own", "another");
    if (token.special) file_.tables.vocabulary.MarkSpecial(token.id);
    file_.added_tokens.push_back(std::move(token));
  }

  JsonFile& json_;
  TiktokenFile& file_;
  const int32_t first_id_;
};

}  // namespace

absl::StatusOr<TiktokenFile> ReadTiktokenFile(const std::filesystem::path& directory) {
  absl::StatusOr<TokenTables> tables = RankReader(directory / "tiktoken.model").Read();
  if (!tables.ok()) return tables.status();
  TiktokenFile file{.tables = *std::move(tables), .added_tokens = {}};
  const absl::StatusOr<std::unique_ptr<JsonFile>> json = JsonFile::Load(directory / "tokenizer_config.json");
  if (!json.ok()) return json.status();
  const absl::Status status = SpecialTokenReader(**json, file).Read();
  if (!status.ok()) return status;
  return file;
}

}  // namespace latentd

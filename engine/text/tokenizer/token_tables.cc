#include "engine/text/tokenizer/token_tables.h"

#include <optional>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "base/utf8.h"
#include "engine/text/tokenizer/byte_alphabet.h"

namespace latentd {
namespace {

// Ids by the text of tokenizer.json, which the file outlives.
using IdByText = absl::flat_hash_map<absl::string_view, int32_t>;

std::optional<int32_t> FindId(const IdByText& ids, std::string_view text) {
  const auto found = ids.find(absl::string_view(text.data(), text.size()));
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

absl::StatusOr<IdByText> IndexVocabulary(const TokenizerFile& file) {
  IdByText ids;
  ids.reserve(file.vocabulary.size());
  for (const auto& [text, id] : file.vocabulary) {
    if (!ids.emplace(text, id).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("model.vocab: expected each token once, found %s twice", QuotedExcerpt(text)));
    }
  }
  return ids;
}

// A token that is not written in the byte alphabet stands for its own text.
absl::Status AddOrdinaryTokens(const TokenizerFile& file, TokenTables& tables) {
  for (const auto& [text, id] : file.vocabulary) {
    const std::optional<std::string> bytes = BytesOfAlphabet(text);
    const absl::Status status = tables.vocabulary.Add(id, bytes ? *bytes : text);
    if (!status.ok()) return status;
    if (file.ignore_merges && bytes) tables.bpe.AddWholePiece(*bytes, id);
  }
  return absl::OkStatus();
}

absl::Status AddAddedTokens(const TokenizerFile& file, const IdByText& ids, TokenTables& tables) {
  for (const AddedToken& token : file.added_tokens) {
    const std::optional<int32_t> ordinary = FindId(ids, token.content);
    const auto [entry, is_new] = tables.added_ids.emplace(token.content, token.id);
    if (!is_new || (ordinary && *ordinary != token.id)) {
      return absl::InvalidArgumentError(absl::StrFormat("added_tokens: expected one id for %s, found %d and %d",
                                                        QuotedExcerpt(token.content), ordinary.value_or(entry->second),
                                                        token.id));
    }
    const absl::Status status = tables.vocabulary.Add(token.id, token.content);
    if (!status.ok()) return status;
    if (token.special) tables.vocabulary.MarkSpecial(token.id);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::array<int32_t, 256>> FindByteIds(const IdByText& ids) {
  std::array<int32_t, 256> byte_ids;
  for (size_t byte = 0; byte < byte_ids.size(); ++byte) {
    std::string text;
    AppendUtf8(AlphabetCharacter(static_cast<uint8_t>(byte)), text);
    const std::optional<int32_t> id = FindId(ids, text);
    if (!id) {
      return absl::InvalidArgumentError(
          absl::StrFormat("model.vocab: expected a token for each byte, found none for "
                          "0x%02X",
                          byte));
    }
    byte_ids[byte] = *id;
  }
  return byte_ids;
}

absl::Status AddMerges(const TokenizerFile& file, const IdByText& ids, Bpe& bpe) {
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    const std::string merged = left + right;
    const std::optional<int32_t> left_id = FindId(ids, left), right_id = FindId(ids, right);
    const std::optional<int32_t> merged_id = FindId(ids, merged);
    if (!left_id || !right_id || !merged_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : merged;
      return absl::InvalidArgumentError(
          absl::StrFormat("model.merges[%d]: expected tokens of model.vocab, found %s", rank, QuotedExcerpt(missing)));
    }
    bpe.AddMerge(*left_id, *right_id, *merged_id, static_cast<uint32_t>(rank));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenTables> BuildTokenTables(const TokenizerFile& file) {
  const absl::StatusOr<IdByText> ids = IndexVocabulary(file);
  if (!ids.ok()) return ids.status();
  const absl::StatusOr<std::array<int32_t, 256>> byte_ids = FindByteIds(*ids);
  if (!byte_ids.ok()) return byte_ids.status();
  TokenTables tables{.vocabulary = {}, .added_ids = {}, .bpe = Bpe(*byte_ids)};
  absl::Status status = AddOrdinaryTokens(file, tables);
  if (status.ok()) status = AddAddedTokens(file, *ids, tables);
  if (status.ok()) status = AddMerges(file, *ids, tables.bpe);
  if (!status.ok()) return status;
  return tables;
}

}  // namespace latentd

#include "engine/text/tokenizer.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "engine/text/long_run_cuts.h"
#include "engine/text/quoted_excerpt.h"
#include "engine/text/tiktoken_file.h"
#include "engine/text/tokenizer_file.h"
#include "engine/text/utf8.h"

namespace latentd {
namespace {

constexpr size_t kMaxTextBytes = 1 << 30;  // offsets within a piece have 32 bits

absl::Status At(const std::filesystem::path& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrFormat("%s: %s", path.string(), std::string(status.message())));
}

// Where added tokens count, of the part [begin, end) of the text that the spans make up and counted from `begin`.
std::vector<AddedTokenFinder::Range> RecognizedWithin(std::span<const TextSpan> spans, size_t begin, size_t end) {
  std::vector<AddedTokenFinder::Range> ranges;
  size_t span_begin = 0;
  for (const TextSpan& span : spans) {
    const size_t span_end = span_begin + span.text.size();
    const size_t first = std::max(begin, span_begin), last = std::min(end, span_end);
    if (span.special_tokens == SpecialTokens::kRecognize && first < last) {
      // Neighbours with the same rule are one text.
      if (!ranges.empty() && ranges.back().end == first - begin) {
        ranges.back().end = last - begin;
      } else {
        ranges.push_back({first - begin, last - begin});
      }
    }
    span_begin = span_end;
  }
  return ranges;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& model_directory) {
  std::error_code error;
  const bool tiktoken = !std::filesystem::exists(model_directory / "tokenizer.json", error) &&
                        std::filesystem::exists(model_directory / "tiktoken.model", error);
  auto tokenizer = tiktoken ? LoadTiktoken(model_directory) : LoadJson(model_directory);
  if (tokenizer.ok() && (*tokenizer)->config().add_bos_token && !(*tokenizer)->bos_id()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: add_bos_token expects bos_token to be an added token, found %s",
        (model_directory / "tokenizer_config.json").string(), QuotedExcerpt((*tokenizer)->config().bos_token)));
  }
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadJson(const std::filesystem::path& model_directory) {
  const std::filesystem::path path = model_directory / "tokenizer.json";
  const absl::StatusOr<TokenizerFile> file = ReadTokenizerFile(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(file->stages);
  if (!pre_tokenizer.ok()) return At(path, pre_tokenizer.status());
  absl::StatusOr<TokenTables> tables = BuildTokenTables(*file);
  if (!tables.ok()) return At(path, tables.status());
  return std::unique_ptr<Tokenizer>(new Tokenizer(*std::move(config), *std::move(tables),
                                                  AddedTokenFinder(file->added_tokens), *std::move(pre_tokenizer)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadTiktoken(const std::filesystem::path& model_directory) {
  absl::StatusOr<TiktokenFile> file = ReadTiktokenFile(model_directory);
  if (!file.ok()) return file.status();
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<PreTokenizer> pre_tokenizer =
      PreTokenizer::Create({SplitStage{.pattern = std::string(kTiktokenPattern)}});
  if (!pre_tokenizer.ok()) return pre_tokenizer.status();
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(*std::move(config), std::move(file->tables),
                                                     AddedTokenFinder(file->added_tokens), *std::move(pre_tokenizer)));
  tokenizer->long_runs_ = LongRuns::kCut;
  return tokenizer;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, SpecialTokens special_tokens) const {
  const TextSpan span{text, special_tokens};
  return Encode(std::span(&span, 1));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::span<const TextSpan> spans) const {
  std::string joined;
  std::string_view text;
  if (spans.size() == 1) {
    text = spans[0].text;
  } else {
    for (const TextSpan& span : spans) joined += span.text;
    text = joined;
  }
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected at most %d bytes of text, found %d", kMaxTextBytes, text.size()));
  }
  if (const auto at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected UTF-8, found byte 0x%02X at %d", static_cast<uint8_t>(text[*at]), *at));
  }
  std::vector<int32_t> ids;
  size_t begin = 0;
  for (const size_t end : long_runs_ == LongRuns::kCut ? LongRunCuts(text) : std::vector<size_t>{text.size()}) {
    const auto matches = finder_.Find(text.substr(begin, end - begin), RecognizedWithin(spans, begin, end));
    const absl::Status status = EncodeAround(text.substr(begin, end - begin), matches, ids);
    if (!status.ok()) return status;
    begin = end;
  }
  return ids;
}

absl::Status Tokenizer::EncodeAround(std::string_view text, std::span<const AddedTokenFinder::Match> matches,
                                     std::vector<int32_t>& ids) const {
  size_t covered = 0;
  for (const AddedTokenFinder::Match& match : matches) {
    const absl::Status status = EncodeOrdinary(text.substr(covered, match.begin - covered), ids);
    if (!status.ok()) return status;
    ids.push_back(match.id);
    covered = match.end;
  }
  return EncodeOrdinary(text.substr(covered), ids);
}

absl::Status Tokenizer::EncodeOrdinary(std::string_view text, std::vector<int32_t>& ids) const {
  const absl::StatusOr<Pieces> pieces = pre_tokenizer_.Split(text);
  if (!pieces.ok()) return pieces.status();
  for (const std::string_view piece : pieces->views) tables_.bpe.Encode(piece, ids);
  return absl::OkStatus();
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, SpecialText special_text) const {
  std::string text;
  Utf8Repair repair;
  for (const int32_t id : ids) {
    if (special_text == SpecialText::kPrint || !IsSpecial(id)) repair.Append(TokenBytes(id), text);
  }
  repair.Flush(text);
  return text;
}

std::optional<int32_t> Tokenizer::IdOf(std::string_view added_token) const {
  const auto found = tables_.added_ids.find(absl::string_view(added_token.data(), added_token.size()));
  return found == tables_.added_ids.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace latentd

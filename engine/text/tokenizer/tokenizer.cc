#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "base/interruption.h"
#include "base/quoting.h"
#include "base/utf8.h"
#include "engine/text/tokenizer/listed_tokens.h"
#include "engine/text/tokenizer/long_run_cuts.h"
#include "engine/text/tokenizer/tiktoken_file.h"
#include "engine/text/tokenizer/tokenizer_file.h"

namespace latentd {
namespace {

constexpr std::string_view kNotCleanedUp =
    "tokenizer_config.json: clean_up_tokenization_spaces is true and nothing is cleaned up, as in transformers 5: text "
    "is what the tokens stand for, their spaces included";
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

// A link that leads nowhere is there, and an error of its own.
bool IsThere(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(std::filesystem::symlink_status(path, error));
}

// Other files that tokenizers come in, which tell what to do.
absl::Status NoTokenizerIn(const std::filesystem::path& directory) {
  std::string found = "found neither";
  for (const std::string_view other :
       {"tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json", "tokenizer_config.json"}) {
    if (!IsThere(directory / other)) continue;
    found = absl::StrFormat("found only %s; load it with transformers' AutoTokenizer and save_pretrained to get them",
                            other);
    break;
  }
  return absl::NotFoundError(
      absl::StrFormat("%s: expected tokenizer.json or tiktoken.model, %s", directory.string(), found));
}

// Classes of transformers that do not look at add_bos_token and add_eos_token.
bool LeavesFrameToPostProcessor(std::string_view tokenizer_class) {
  constexpr std::string_view kClasses[] = {"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend",
                                           "GPT2TokenizerFast",       "GPT2Tokenizer",       "Qwen2TokenizerFast",
                                           "Qwen2Tokenizer"};
  return std::find(std::begin(kClasses), std::end(kClasses), tokenizer_class) != std::end(kClasses);
}

absl::Status NoAddedToken(std::string_view name, std::string_view token) {
  return absl::InvalidArgumentError(absl::StrFormat("add_%s_token expects %s_token to be an added token, found %s",
                                                    name, name, QuotedExcerpt(token)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& model_directory) {
  const bool has_json = IsThere(model_directory / "tokenizer.json");
  const bool has_tiktoken = IsThere(model_directory / "tiktoken.model");
  if (!has_json && !has_tiktoken) return NoTokenizerIn(model_directory);
  PromptFrame of_post_processor;
  auto tokenizer = has_json ? LoadJson(model_directory, of_post_processor) : LoadTiktoken(model_directory);
  if (!tokenizer.ok()) return tokenizer;
  if (absl::Status status = (*tokenizer)->FindFrame(of_post_processor); !status.ok()) {
    return At(model_directory / "tokenizer_config.json", status);
  }
  return tokenizer;
}

absl::Status Tokenizer::FindFrame(const PromptFrame& of_post_processor) {
  frame_ = of_post_processor;
  // That no EOS is added says nothing where none would be.
  const bool says_eos = config_.add_eos_token && (*config_.add_eos_token || !frame_.behind.empty());
  if (!config_.add_bos_token && !says_eos) return absl::OkStatus();
  if (LeavesFrameToPostProcessor(config_.tokenizer_class)) {
    const bool is_contradicted = (config_.add_bos_token && *config_.add_bos_token == frame_.before.empty()) ||
                                 (config_.add_eos_token && *config_.add_eos_token == frame_.behind.empty());
    if (is_contradicted) {
      warnings_.push_back(absl::StrFormat(
          "tokenizer_config.json: add_bos_token and add_eos_token are not looked at for %s, as in transformers: the "
          "post_processor of tokenizer.json decides",
          config_.tokenizer_class));
    }
    return absl::OkStatus();
  }
  // As the Llama tokenizers of transformers 4: a configuration that sets one of the two decides both.
  frame_ = {};
  if (config_.add_bos_token.value_or(bos_id().has_value())) {
    if (!bos_id()) return NoAddedToken("bos", config_.bos_token);
    frame_.before.push_back(*bos_id());
  }
  if (config_.add_eos_token.value_or(false)) {
    if (!eos_id()) return NoAddedToken("eos", config_.eos_token);
    frame_.behind.push_back(*eos_id());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadJson(const std::filesystem::path& model_directory,
                                                               PromptFrame& of_post_processor) {
  const std::filesystem::path path = model_directory / "tokenizer.json";
  absl::StatusOr<TokenizerFile> file = ReadTokenizerFile(path);
  if (!file.ok()) return file.status();
  of_post_processor = file->frame;
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_directory);
  if (!config.ok()) return config.status();
  const std::string left_aside = AddListedTokens(*config, *file);
  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(file->stages);
  if (!pre_tokenizer.ok()) return At(path, pre_tokenizer.status());
  absl::StatusOr<TokenTables> tables = BuildTokenTables(*file);
  if (!tables.ok()) return At(path, tables.status());
  for (AddedToken& token : file->added_tokens) token.is_text = config->splits_special_tokens && token.special;
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(*std::move(config), *std::move(tables),
                                                     AddedTokenFinder(file->added_tokens), *std::move(pre_tokenizer)));
  if (!left_aside.empty()) tokenizer->warnings_.push_back(left_aside);
  if (tokenizer->config_.cleans_up_spaces) {
    tokenizer->warnings_.emplace_back(kNotCleanedUp);
  }
  for (const std::vector<int32_t>& ids : {file->frame.before, file->frame.behind}) {
    for (const int32_t id : ids) {
      if (tokenizer->HasToken(id)) continue;
      return At(path, absl::InvalidArgumentError(
                          absl::StrFormat("post_processor: expected ids of tokens, found %d, which is none", id)));
    }
  }
  return tokenizer;
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
  for (const std::string_view piece : pieces->views) {
    tables_.bpe.Encode(piece, ids);
    if (IsInterrupted()) return Interrupted();
  }
  return absl::OkStatus();
}

std::optional<size_t> Tokenizer::MostTextBytes(size_t num_tokens) const {
  if (finder_.takes_white_space() || !pre_tokenizer_.keeps_all_text()) return std::nullopt;
  return num_tokens * tables_.vocabulary.longest_bytes();
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

// Strings <-> token ids: the byte-level BPE tokenizer of a model directory. Constant after loading; every thread may
// use it at once. Owned by main.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/added_tokens.h"
#include "engine/text/tokenizer/pre_tokenizer.h"
#include "engine/text/tokenizer/prompt_frame.h"
#include "engine/text/tokenizer/token_tables.h"
#include "engine/text/tokenizer/tokenizer_config.h"

namespace latentd {

// Whether added tokens that stand in a text, such as <｜User｜>, become their ids or stay ordinary text.
enum class SpecialTokens : uint8_t { kRecognize, kAsText };

// Whether decoding prints the tokens that the model's makers call special.
enum class SpecialText : uint8_t { kPrint, kSkip };

struct TextSpan {
  std::string_view text;
  SpecialTokens special_tokens = SpecialTokens::kRecognize;
};

class Tokenizer {
 public:
  // Reads tokenizer.json or, where there is none, tiktoken.model, which needs tokenizer_config.json for its special
  // tokens. NOT_FOUND, with what is there instead, where there is no tokenizer; INVALID_ARGUMENT, one line, for
  // anything unexpected.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::filesystem::path& model_directory);

  // Without frame(). INVALID_ARGUMENT if the text is not UTF-8 or too long.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, SpecialTokens special_tokens) const;
  // One text in several spans, each with its own rule: a user's words between what a chat template wrote. Words, and
  // the white space that a token takes, may reach over the border of two spans, but an added token counts only inside
  // of spans that recognize it.
  absl::StatusOr<std::vector<int32_t>> Encode(std::span<const TextSpan> spans) const;

  // So many tokens are the encoding of no longer text. Nothing where that has no bound, since some text leaves no
  // trace: the white space around an added token that takes it, what the pre-tokenizer removes.
  std::optional<size_t> MostTextBytes(size_t num_tokens) const;

  // Ids that do not exist are left out; bytes that are no UTF-8 become U+FFFD.
  std::string Decode(std::span<const int32_t> ids, SpecialText special_text) const;

  int vocab_size() const { return tables_.vocabulary.size(); }  // the highest id + 1
  bool HasToken(int32_t id) const { return tables_.vocabulary.Has(id); }
  bool IsSpecial(int32_t id) const { return tables_.vocabulary.IsSpecial(id); }
  // Not necessarily whole characters; empty for ids that do not exist.
  std::string_view TokenBytes(int32_t id) const { return tables_.vocabulary.Bytes(id); }
  // The id of an added token.
  std::optional<int32_t> IdOf(std::string_view added_token) const;

  const TokenizerConfig& config() const { return config_; }
  std::optional<int32_t> bos_id() const { return IdOf(config_.bos_token); }
  std::optional<int32_t> eos_id() const { return IdOf(config_.eos_token); }
  // The tokens around a plain text that is a whole prompt.
  const PromptFrame& frame() const { return frame_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // a line each
  const PreTokenizer& pre_tokenizer() const { return pre_tokenizer_; }

 private:
  enum class LongRuns : uint8_t { kWhole, kCut };  // kCut: see long_run_cuts.h

  Tokenizer(TokenizerConfig config, TokenTables tables, AddedTokenFinder finder, PreTokenizer pre_tokenizer)
      : config_(std::move(config)),
        tables_(std::move(tables)),
        finder_(std::move(finder)),
        pre_tokenizer_(std::move(pre_tokenizer)) {}

  static absl::StatusOr<std::unique_ptr<Tokenizer>> LoadJson(const std::filesystem::path& model_directory,
                                                             PromptFrame& of_post_processor);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTiktoken(const std::filesystem::path& model_directory);
  absl::Status EncodeAround(std::string_view text, std::span<const AddedTokenFinder::Match> matches,
                            std::vector<int32_t>& ids) const;
  // Decides between what the two files say of the frame, and checks it.
  absl::Status FindFrame(const PromptFrame& of_post_processor);
  absl::Status EncodeOrdinary(std::string_view text, std::vector<int32_t>& ids) const;

  TokenizerConfig config_;
  TokenTables tables_;
  AddedTokenFinder finder_;
  PreTokenizer pre_tokenizer_;
  LongRuns long_runs_ = LongRuns::kWhole;
  PromptFrame frame_;
  std::vector<std::string> warnings_;
};

}  // namespace latentd

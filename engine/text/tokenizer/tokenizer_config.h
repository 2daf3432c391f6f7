// The settings of a tokenizer besides its tokens: tokenizer_config.json and, where that lists no tokens itself, the
// older special_tokens_map.json and added_tokens.json beside it. None of them has to be there.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/added_tokens.h"

namespace latentd {

// A token that the files list or name beside those of tokenizer.json.
struct ListedToken {
  enum class Kind : uint8_t {
    kListed,      // with the id that the file gives it
    kText,        // named by its text alone
    kName,        // named by an object with flags, as bos_token and its like
    kAdditional,  // named so among additional_special_tokens or extra_special_tokens
  };
  AddedToken token;  // the id is kNoId where the files give none
  Kind kind = Kind::kListed;
  std::string key;  // that names it
};

struct TokenizerConfig {
  std::string bos_token;              // empty: none
  std::string eos_token;              // empty: none
  std::string pad_token;              // empty: none
  std::string unk_token;              // empty: none
  std::optional<bool> add_bos_token;  // as far as the file says so
  std::optional<bool> add_eos_token;
  std::string tokenizer_class;         // of transformers; empty: the file names none
  bool splits_special_tokens = false;  // special tokens that stand in a text are text
  bool cleans_up_spaces = false;       // decoding would take some of the spaces before punctuation away
  bool has_decoder = false;            // added_tokens_decoder is there
  std::vector<ListedToken> listed_tokens;

  static constexpr int32_t kNoId = -1;
};

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& model_directory);

}  // namespace latentd

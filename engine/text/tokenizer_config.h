// What belongs to a tokenizer besides its tokens: tokenizer_config.json and, where that lists no tokens itself, the
// older special_tokens_map.json and added_tokens.json beside it. None of them has to be there.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/added_tokens.h"

namespace latentd {

struct TokenizerConfig {
  std::string bos_token;              // empty: none
  std::string eos_token;              // empty: none
  std::string pad_token;              // empty: none
  std::string unk_token;              // empty: none
  std::optional<bool> add_bos_token;  // as far as the file says so
  std::optional<bool> add_eos_token;
  std::string tokenizer_class;            // of transformers; empty: the file names none
  std::vector<AddedToken> listed_tokens;  // which tokenizer.json may lack; the id is kNoId where the files give none

  static constexpr int32_t kNoId = -1;
};

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& model_directory);

}  // namespace latentd

// tiktoken.model and the special tokens in tokenizer_config.json: how Kimi and Moonlight publish their tokenizers.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/added_tokens.h"
#include "engine/text/tokenizer/token_tables.h"

namespace latentd {

struct TiktokenFile {
  TokenTables tables;
  std::vector<AddedToken> added_tokens;
};

// Stands in the models' Python code, in no file that we read.
extern const std::string_view kTiktokenPattern;

// `directory` holds tiktoken.model and tokenizer_config.json.
absl::StatusOr<TiktokenFile> ReadTiktokenFile(const std::filesystem::path& directory);

}  // namespace latentd

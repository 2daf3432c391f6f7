// tokenizer_config.json: what belongs to a tokenizer besides its tokens.
#pragma once

#include <filesystem>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

struct TokenizerConfig {
  std::string bos_token;       // empty: none
  std::string eos_token;       // empty: none
  std::string pad_token;       // empty: none
  std::string unk_token;       // empty: none
  bool add_bos_token = false;  // a prompt that is plain text starts with the BOS token
  std::string chat_template;   // Jinja source; empty: none
};

// A chat_template.jinja in the directory comes before the template in the file.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& model_directory);

}  // namespace latentd

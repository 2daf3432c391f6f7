// tokenizer.json, read and checked but not yet made into a tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/added_tokens.h"
#include "engine/text/tokenizer/pre_tokenizer.h"
#include "engine/text/tokenizer/prompt_frame.h"

namespace latentd {

struct TokenizerFile {
  std::vector<PreTokenizerStage> stages;
  std::vector<AddedToken> added_tokens;
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // in the byte alphabet
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  bool ignore_merges = false;                               // a piece that is a token needs no merges
  PromptFrame frame;                                        // of the post-processor
};

// Every part that we would not follow to the letter is refused.
absl::StatusOr<TokenizerFile> ReadTokenizerFile(const std::filesystem::path& path);

}  // namespace latentd

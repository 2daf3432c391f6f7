// Tokens that a tokenizer's configuration names beside those of tokenizer.json.
#pragma once

#include <string>
#include <vector>

#include "engine/text/tokenizer/tokenizer_config.h"
#include "engine/text/tokenizer/tokenizer_file.h"

namespace latentd {

// Makes them added tokens of `file`, as transformers does, where the vocabulary has them or the configuration gives
// them an id that is free, and gives those that `file` has the flags that the configuration says. What has no id is
// left aside: a line that names such tokens, or nothing.
std::string AddListedTokens(const TokenizerConfig& config, TokenizerFile& file);

}  // namespace latentd

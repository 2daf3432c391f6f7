// The lookup tables that a tokenizer.json turns into. Constant once built.
#pragma once

#include <cstdint>
#include <string>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "engine/text/tokenizer/bpe.h"
#include "engine/text/tokenizer/tokenizer_file.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace latentd {

struct TokenTables {
  Vocabulary vocabulary;
  absl::flat_hash_map<std::string, int32_t> added_ids;  // by content
  Bpe bpe;
};

// Refuses contradictions: an id of two tokens, a token of two ids, a merge of what is no token, a byte without a token.
absl::StatusOr<TokenTables> BuildTokenTables(const TokenizerFile& file);

}  // namespace latentd

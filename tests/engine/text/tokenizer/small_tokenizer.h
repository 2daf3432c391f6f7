// A tokenizer.json small enough to change by hand: one token per byte (its id), a few merges, one added token.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

constexpr int32_t kSmallHe = 256;       // "he" of h, e
constexpr int32_t kSmallHell = 258;     // "hell" of he, ll
constexpr int32_t kSmallControl = 300;  // the added token <|end|>

nlohmann::json SmallTokenizer();
nlohmann::json SmallConfig();
// The same with more added tokens, whose ids go on from kSmallControl + 1.
nlohmann::json SmallTokenizerWith(const std::vector<std::string>& added_tokens);

// The tokens that structure the answers of R1 and V3.1, and those of Kimi-K2: reasoning's, then in either family's
// words the begin and end of all calls, of one, and the separator.
std::vector<std::string> DeepSeekMarkers();
std::vector<std::string> KimiMarkers();

// Loads the two from a directory of their own.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const std::string& tokenizer, const std::string& config);
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const nlohmann::json& tokenizer);

}  // namespace latentd

// A tokenizer.json small enough to change by hand: one token per byte (its id), a few merges, one added token.
#pragma once

#include <memory>
#include <string>

#include <absl/status/statusor.h>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.h"

namespace latentd {

constexpr int32_t kSmallHe = 256;       // "he" of h, e
constexpr int32_t kSmallHell = 258;     // "hell" of he, ll
constexpr int32_t kSmallControl = 300;  // the added token <|end|>

nlohmann::json SmallTokenizer();
nlohmann::json SmallConfig();

// Loads the two from a directory of their own.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const std::string& tokenizer, const std::string& config);
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const nlohmann::json& tokenizer);

}  // namespace latentd

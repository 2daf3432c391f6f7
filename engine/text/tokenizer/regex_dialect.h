// The regular expressions of tokenizer.json are written for Oniguruma; this rewrites them for PCRE2, same meaning.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd {

// Character classes become explicit ranges, groups don't capture. Constructs whose meaning isn't the same in both
// dialects, or depends on Unicode tables that we lack, are refused.
absl::StatusOr<std::string> TranslateRegex(std::string_view pattern);

// A pattern that matches `text` and nothing else; no text matches nowhere.
std::string LiteralRegex(std::string_view text);

}  // namespace latentd

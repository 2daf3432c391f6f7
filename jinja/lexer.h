// Jinja source to tokens, with white-space control applied: trim_blocks and lstrip_blocks are on, as chat templates
// expect, and one newline at the end of the source is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd::jinja {

enum class TokenType : uint8_t {
  kText,         // outside of tags
  kOutputBegin,  // {{
  kOutputEnd,    // }}
  kTagBegin,     // {%
  kTagEnd,       // %}
  kName,
  kString,   // unescaped
  kInteger,  // as written
  kFloat,    // as written
  kOperator,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 1;
  std::string text;
};

// The last token is kEnd. INVALID_ARGUMENT with the line for text that can be no token.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

absl::Status SyntaxError(int line, const std::string& message);

}  // namespace latentd::jinja

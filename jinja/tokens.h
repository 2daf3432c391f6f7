// The parser's view of the tokens: one current token, one of lookahead, and the first syntax error.
// After an error the stream is at its end, so that every loop of the parser stops.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "jinja/lexer.h"

namespace latentd::jinja {

class Tokens {
 public:
  explicit Tokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[position_ + 1 < tokens_.size() ? position_ + 1 : position_]; }
  int line() const { return current().line; }
  bool at_end() const { return current().type == TokenType::kEnd; }

  bool Is(TokenType type) const { return current().type == type; }
  bool IsName(std::string_view name) const { return Is(TokenType::kName) && current().text == name; }
  bool IsOperator(std::string_view name) const { return Is(TokenType::kOperator) && current().text == name; }

  Token Take();
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view name);
  // These fail when the current token is another one.
  void Expect(TokenType type, std::string_view what);
  void ExpectName(std::string_view name);
  void ExpectOperator(std::string_view name);
  std::string TakeName(std::string_view what);

  // Keeps the first error. `FailExpected` adds the token that was found instead.
  void Fail(int line, const std::string& message);
  void FailExpected(std::string_view what);
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  std::vector<Token> tokens_;
  size_t position_ = 0;
  absl::Status status_;
};

}  // namespace latentd::jinja

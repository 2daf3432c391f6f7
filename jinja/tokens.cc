#include "jinja/tokens.h"

#include <utility>

#include <absl/strings/str_format.h>

namespace latentd::jinja {
namespace {

std::string Describe(const Token& token) {
  switch (token.type) {
    case TokenType::kText:
      return "text";
    case TokenType::kOutputBegin:
      return "'{{'";
    case TokenType::kOutputEnd:
      return "'}}'";
    case TokenType::kTagBegin:
      return "'{%'";
    case TokenType::kTagEnd:
      return "'%}'";
    case TokenType::kString:
      return "a string";
    case TokenType::kName:
    case TokenType::kInteger:
    case TokenType::kFloat:
    case TokenType::kOperator:
      return absl::StrFormat("'%s'", token.text);
    case TokenType::kEnd:
      return "the end of the template";
  }
  return "";
}

}  // namespace

Token Tokens::Take() {
  Token token = current();
  if (!at_end()) ++position_;
  return token;
}

bool Tokens::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  ++position_;
  return true;
}

bool Tokens::SkipOperator(std::string_view name) {
  if (!IsOperator(name)) return false;
  ++position_;
  return true;
}

void Tokens::Expect(TokenType type, std::string_view what) {
  if (!Is(type)) return FailExpected(what);
  ++position_;
}

void Tokens::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailExpected(absl::StrFormat("'%s'", name));
}

void Tokens::ExpectOperator(std::string_view name) {
  if (!SkipOperator(name)) FailExpected(absl::StrFormat("'%s'", name));
}

std::string Tokens::TakeName(std::string_view what) {
  if (Is(TokenType::kName)) return Take().text;
  FailExpected(what);
  return "";
}

void Tokens::Fail(int line, const std::string& message) {
  if (!failed()) status_ = SyntaxError(line, message);
  position_ = tokens_.size() - 1;
}

void Tokens::FailExpected(std::string_view what) {
  Fail(line(), absl::StrFormat("expected %s, found %s", what, Describe(current())));
}

}  // namespace latentd::jinja

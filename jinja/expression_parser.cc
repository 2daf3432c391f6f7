#include "jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

namespace latentd::jinja {

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.depth_ > kMaxNesting) {
    parser_.tokens_.Fail(parser_.tokens_.line(),
                         absl::StrCat("expected at most ", kMaxNesting, " levels of nesting, found more"));
  }
}

ExpressionParser::Node ExpressionParser::NewNode(ExpressionKind kind) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = tokens_.line();
  return node;
}

ExpressionPtr ExpressionParser::Finish(Node node) {
  int height = 0;
  for (const ExpressionPtr& operand : node->operands) height = std::max(height, operand ? operand->height : 0);
  for (const Argument& argument : node->arguments) height = std::max(height, argument.value->height);
  node->height = height + 1;
  if (node->height > kMaxExpressionHeight) {
    tokens_.Fail(node->line, absl::StrCat("expected an expression of at most ", kMaxExpressionHeight,
                                          " operations upon each other, found more"));
  }
  return node;
}

ExpressionPtr ExpressionParser::Unary(ExpressionKind kind, std::string name, ExpressionPtr operand) {
  Node node = NewNode(kind);
  node->line = operand->line;
  node->name = std::move(name);
  node->operands.push_back(std::move(operand));
  return Finish(std::move(node));
}

ExpressionPtr ExpressionParser::Binary(ExpressionKind kind, std::string name, ExpressionPtr left, ExpressionPtr right) {
  Node node = NewNode(kind);
  node->line = left->line;
  node->name = std::move(name);
  node->operands.push_back(std::move(left));
  node->operands.push_back(std::move(right));
  return Finish(std::move(node));
}

ExpressionPtr ExpressionParser::Constant(Value value) {
  Node node = NewNode(ExpressionKind::kConstant);
  node->constant = std::move(value);
  return node;
}

ExpressionPtr ExpressionParser::ParseTuple(Conditional conditional, std::string_view end) {
  Node tuple = NewNode(ExpressionKind::kTuple);
  bool is_tuple = false;
  while (true) {
    const bool at_end = tokens_.Is(TokenType::kOutputEnd) || tokens_.Is(TokenType::kTagEnd) ||
                        tokens_.IsOperator(")") || (!end.empty() && tokens_.IsName(end));
    if (at_end && is_tuple) break;
    tuple->operands.push_back(ParseExpression(conditional));
    if (!tokens_.SkipOperator(",")) break;
    is_tuple = true;
  }
  return is_tuple ? Finish(std::move(tuple)) : std::move(tuple->operands.front());
}

ExpressionPtr ExpressionParser::ParseExpression(Conditional conditional) {
  if (conditional == Conditional::kAllowed) return ParseConditional();
  const Nesting nesting(*this);
  return ParseOr();
}

ExpressionPtr ExpressionParser::ParseConditional() {
  const Nesting nesting(*this);
  ExpressionPtr value = ParseOr();
  while (tokens_.SkipName("if")) {
    ExpressionPtr condition = ParseOr();
    ExpressionPtr otherwise = tokens_.SkipName("else") ? ParseConditional() : nullptr;
    Node node = NewNode(ExpressionKind::kConditional);
    node->operands.push_back(std::move(value));
    node->operands.push_back(std::move(condition));
    node->operands.push_back(std::move(otherwise));
    value = Finish(std::move(node));
  }
  return value;
}

ExpressionPtr ExpressionParser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (tokens_.SkipName("or")) left = Binary(ExpressionKind::kOr, "or", std::move(left), ParseAnd());
  return left;
}

ExpressionPtr ExpressionParser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (tokens_.SkipName("and")) left = Binary(ExpressionKind::kAnd, "and", std::move(left), ParseNot());
  return left;
}

ExpressionPtr ExpressionParser::ParseNot() {
  if (!tokens_.SkipName("not")) return ParseComparison();
  const Nesting nesting(*this);
  return Unary(ExpressionKind::kNot, "not", ParseNot());
}

ExpressionPtr ExpressionParser::ParseComparison() {
  Node node = NewNode(ExpressionKind::kCompare);
  node->operands.push_back(ParseSum());
  while (true) {
    std::string name;
    for (const std::string_view candidate : {"==", "!=", "<", "<=", ">", ">="}) {
      if (tokens_.IsOperator(candidate)) name = candidate;
    }
    if (!name.empty()) {
      tokens_.Take();
    } else if (tokens_.SkipName("in")) {
      name = "in";
    } else if (tokens_.IsName("not") && tokens_.next().type == TokenType::kName && tokens_.next().text == "in") {
      tokens_.Take();
      tokens_.Take();
      name = "not in";
    } else {
      break;
    }
    node->comparisons.push_back(std::move(name));
    node->operands.push_back(ParseSum());
  }
  return node->comparisons.empty() ? std::move(node->operands.front()) : Finish(std::move(node));
}

ExpressionPtr ExpressionParser::ParseSum() {
  ExpressionPtr left = ParseConcat();
  while (tokens_.IsOperator("+") || tokens_.IsOperator("-")) {
    std::string name = tokens_.Take().text;
    left = Binary(ExpressionKind::kBinary, std::move(name), std::move(left), ParseConcat());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseConcat() {
  Node node = NewNode(ExpressionKind::kConcat);
  node->operands.push_back(ParseProduct());
  while (tokens_.SkipOperator("~")) node->operands.push_back(ParseProduct());
  return node->operands.size() == 1 ? std::move(node->operands.front()) : Finish(std::move(node));
}

ExpressionPtr ExpressionParser::ParseProduct() {
  ExpressionPtr left = ParsePower();
  while (tokens_.IsOperator("*") || tokens_.IsOperator("/") || tokens_.IsOperator("//") || tokens_.IsOperator("%")) {
    std::string name = tokens_.Take().text;
    left = Binary(ExpressionKind::kBinary, std::move(name), std::move(left), ParsePower());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParsePower() {
  ExpressionPtr left = ParseUnary();
  while (tokens_.SkipOperator("**")) left = Binary(ExpressionKind::kBinary, "**", std::move(left), ParseUnary());
  return left;
}

ExpressionPtr ExpressionParser::ParseUnary() { return ParseFiltersAndTests(ParseSigned()); }

// A sign binds tighter than a filter, looser than a subscript.
ExpressionPtr ExpressionParser::ParseSigned() {
  if (!tokens_.IsOperator("-") && !tokens_.IsOperator("+")) return ParsePostfix(ParsePrimary());
  const Nesting nesting(*this);
  std::string name = tokens_.Take().text;
  return ParsePostfix(Unary(ExpressionKind::kUnary, std::move(name), ParseSigned()));
}

ExpressionPtr ExpressionParser::ParsePrimary() {
  switch (tokens_.current().type) {
    case TokenType::kName:
      return ParseNameOrConstant();
    case TokenType::kInteger:
    case TokenType::kFloat:
      return ParseNumber();
    case TokenType::kString: {
      std::string text;
      while (tokens_.Is(TokenType::kString)) text += tokens_.Take().text;
      return Constant(Value::Text(std::move(text)));
    }
    default:
      break;
  }
  if (tokens_.IsOperator("(")) return ParseParenthesized();
  if (tokens_.IsOperator("[")) return ParseList();
  if (tokens_.IsOperator("{")) return ParseObject();
  tokens_.FailExpected("an expression");
  return Constant(Value());
}

ExpressionPtr ExpressionParser::ParseNameOrConstant() {
  Node node = NewNode(ExpressionKind::kName);
  node->name = tokens_.Take().text;
  if (node->name == "true" || node->name == "True") return Constant(Value::Bool(true));
  if (node->name == "false" || node->name == "False") return Constant(Value::Bool(false));
  if (node->name == "none" || node->name == "None") return Constant(Value::None());
  special_names_.varargs |= node->name == "varargs";
  special_names_.kwargs |= node->name == "kwargs";
  special_names_.caller |= node->name == "caller";
  return node;
}

ExpressionPtr ExpressionParser::ParseNumber() {
  const Token token = tokens_.Take();
  const char* const end = token.text.data() + token.text.size();
  if (token.type == TokenType::kFloat) {
    double value = 0.0;
    if (!absl::SimpleAtod(token.text, &value)) tokens_.Fail(token.line, "expected a number, found " + token.text);
    return Constant(Value::Float(value));
  }
  int64_t value = 0;
  if (std::from_chars(token.text.data(), end, value).ec == std::errc()) return Constant(Value::Integer(value));
  return Constant(Value::BigInteger(token.text));
}

ExpressionPtr ExpressionParser::ParseParenthesized() {
  Node empty = NewNode(ExpressionKind::kTuple);
  tokens_.ExpectOperator("(");
  if (tokens_.SkipOperator(")")) return empty;
  ExpressionPtr inner = ParseTuple();
  tokens_.ExpectOperator(")");
  return inner;
}

ExpressionPtr ExpressionParser::ParseList() {
  Node node = NewNode(ExpressionKind::kList);
  tokens_.ExpectOperator("[");
  while (!tokens_.at_end() && !tokens_.IsOperator("]")) {
    node->operands.push_back(ParseExpression());
    if (!tokens_.SkipOperator(",")) break;
  }
  tokens_.ExpectOperator("]");
  return Finish(std::move(node));
}

ExpressionPtr ExpressionParser::ParseObject() {
  Node node = NewNode(ExpressionKind::kObject);
  tokens_.ExpectOperator("{");
  while (!tokens_.at_end() && !tokens_.IsOperator("}")) {
    node->operands.push_back(ParseExpression());
    tokens_.ExpectOperator(":");
    node->operands.push_back(ParseExpression());
    if (!tokens_.SkipOperator(",")) break;
  }
  tokens_.ExpectOperator("}");
  return Finish(std::move(node));
}

}  // namespace latentd::jinja

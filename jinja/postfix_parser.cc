// Postfixes of an expression: attributes, items, calls, filters, tests.
#include <utility>

#include "jinja/expression_parser.h"

namespace latentd::jinja {

ExpressionPtr ExpressionParser::ParsePostfix(ExpressionPtr operand) {
  while (true) {
    if (tokens_.IsOperator(".")) {
      operand = ParseAttribute(std::move(operand));
    } else if (tokens_.IsOperator("[")) {
      operand = ParseItem(std::move(operand));
    } else if (tokens_.IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseFiltersAndTests(ExpressionPtr operand) {
  while (true) {
    if (tokens_.IsOperator("|")) {
      operand = ParseFilters(std::move(operand));
    } else if (tokens_.IsName("is")) {
      operand = ParseTest(std::move(operand));
    } else if (tokens_.IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseAttribute(ExpressionPtr operand) {
  tokens_.ExpectOperator(".");
  if (tokens_.Is(TokenType::kInteger)) {
    return Binary(ExpressionKind::kItem, "", std::move(operand), ParseNumber());
  }
  return Unary(ExpressionKind::kAttribute, tokens_.TakeName("a name or an integer after '.'"), std::move(operand));
}

ExpressionPtr ExpressionParser::ParseItem(ExpressionPtr operand) {
  Node node = NewNode(ExpressionKind::kSlice);
  tokens_.ExpectOperator("[");
  node->operands.push_back(std::move(operand));
  bool is_slice = false;
  for (int part = 0; part < 3; ++part) {
    const bool left_out = tokens_.IsOperator(":") || tokens_.IsOperator("]");
    if (left_out && part == 0 && tokens_.IsOperator("]")) tokens_.FailExpected("an expression");
    node->operands.push_back(left_out ? nullptr : ParseExpression());
    if (!tokens_.SkipOperator(":")) break;
    is_slice = true;
  }
  tokens_.ExpectOperator("]");
  if (!is_slice) {
    if (node->operands[1] == nullptr) return Constant(Value());
    node->kind = ExpressionKind::kItem;
    return Finish(std::move(node));
  }
  while (node->operands.size() < 4) node->operands.push_back(nullptr);
  return Finish(std::move(node));
}

ExpressionPtr ExpressionParser::ParseCall(ExpressionPtr callee) {
  Node node = NewNode(ExpressionKind::kCall);
  node->operands.push_back(std::move(callee));
  node->arguments = ParseArguments();
  return Finish(std::move(node));
}

std::vector<Argument> ExpressionParser::ParseArguments() {
  std::vector<Argument> arguments;
  tokens_.ExpectOperator("(");
  Argument::Kind last = Argument::Kind::kPositional;
  while (!tokens_.at_end() && !tokens_.IsOperator(")")) {
    Argument argument;
    if (tokens_.SkipOperator("*")) {
      argument.kind = Argument::Kind::kSpread;
    } else if (tokens_.SkipOperator("**")) {
      argument.kind = Argument::Kind::kNamedSpread;
    } else if (tokens_.Is(TokenType::kName) && tokens_.next().type == TokenType::kOperator &&
               tokens_.next().text == "=") {
      argument.kind = Argument::Kind::kNamed;
      argument.name = tokens_.Take().text;
      tokens_.Take();
      for (const Argument& other : arguments) {
        if (other.name == argument.name) tokens_.Fail(tokens_.line(), "expected one value for " + argument.name);
      }
    }
    const bool in_order = last == Argument::Kind::kPositional || argument.kind == Argument::Kind::kNamedSpread ||
                          argument.kind == Argument::Kind::kNamed;
    if (!in_order || last == Argument::Kind::kNamedSpread) tokens_.FailExpected("a named argument or ')'");
    last = argument.kind;
    argument.value = ParseExpression();
    arguments.push_back(std::move(argument));
    if (!tokens_.SkipOperator(",")) break;
  }
  tokens_.ExpectOperator(")");
  return arguments;
}

ExpressionPtr ExpressionParser::ParseFilters(ExpressionPtr operand) {
  while (tokens_.SkipOperator("|")) operand = ParseOneFilter(std::move(operand));
  return operand;
}

ExpressionPtr ExpressionParser::ParseFilterChain() { return ParseFilters(ParseOneFilter(nullptr)); }

ExpressionPtr ExpressionParser::ParseOneFilter(ExpressionPtr operand) {
  Node node = NewNode(ExpressionKind::kFilter);
  node->name = TakeDottedName("the name of a filter");
  node->operands.push_back(std::move(operand));
  if (tokens_.IsOperator("(")) node->arguments = ParseArguments();
  return Finish(std::move(node));
}

std::string ExpressionParser::TakeDottedName(std::string_view what) {
  std::string name = tokens_.TakeName(what);
  while (tokens_.SkipOperator(".")) name += "." + tokens_.TakeName(what);
  return name;
}

ExpressionPtr ExpressionParser::ParseTest(ExpressionPtr operand) {
  tokens_.ExpectName("is");
  const bool negated = tokens_.SkipName("not");
  Node node = NewNode(ExpressionKind::kTest);
  node->name = TakeDottedName("the name of a test");
  node->operands.push_back(std::move(operand));
  if (tokens_.IsOperator("(")) {
    node->arguments = ParseArguments();
  } else if (StartsTestArgument()) {
    if (tokens_.IsName("is")) tokens_.FailExpected("one test");
    node->arguments.push_back({Argument::Kind::kPositional, "", ParsePostfix(ParsePrimary())});
  }
  ExpressionPtr test = Finish(std::move(node));
  return negated ? Unary(ExpressionKind::kNot, "not", std::move(test)) : std::move(test);
}

// `x is divisibleby 3`: one argument needs no parentheses.
bool ExpressionParser::StartsTestArgument() const {
  switch (tokens_.current().type) {
    case TokenType::kString:
    case TokenType::kInteger:
    case TokenType::kFloat:
      return true;
    case TokenType::kName:
      return !tokens_.IsName("else") && !tokens_.IsName("or") && !tokens_.IsName("and");
    default:
      return tokens_.IsOperator("[") || tokens_.IsOperator("{");
  }
}

}  // namespace latentd::jinja

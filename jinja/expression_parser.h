// The expression half of the parser.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/tokens.h"

namespace latentd::jinja {

// Parentheses, brackets, statements inside each other.
inline constexpr int kMaxNesting = 100;
// Height of an expression's tree: `a + b + c + …` grows it too.
inline constexpr int kMaxExpressionHeight = 300;

class ExpressionParser {
 public:
  explicit ExpressionParser(Tokens& tokens) : tokens_(tokens) {}

  // Where an expression may be followed by `if` that belongs to a statement, conditional expressions are left out.
  enum class Conditional { kAllowed, kLeftOut };

  // One expression, or several separated by commas, which make a tuple. `end` is a name that may end it.
  ExpressionPtr ParseTuple(Conditional conditional = Conditional::kAllowed, std::string_view end = "");
  ExpressionPtr ParseExpression(Conditional conditional = Conditional::kAllowed);
  // `| name(arguments) | …` applied to `operand`, which may be null.
  ExpressionPtr ParseFilters(ExpressionPtr operand);
  // A filter chain whose first `|` is left out.
  ExpressionPtr ParseFilterChain();

  // True once names that a macro treats specially were read; the macro's parser clears them.
  struct SpecialNames {
    bool varargs = false;
    bool kwargs = false;
    bool caller = false;
  };
  SpecialNames& special_names() { return special_names_; }

  // One level of nesting for as long as it lives; fails the tokens beyond the limit.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  using Node = std::unique_ptr<Expression>;
  Node NewNode(ExpressionKind kind) const;
  // Measures the tree and refuses one that is too high.
  ExpressionPtr Finish(Node node);
  ExpressionPtr Unary(ExpressionKind kind, std::string name, ExpressionPtr operand);
  ExpressionPtr Binary(ExpressionKind kind, std::string name, ExpressionPtr left, ExpressionPtr right);
  ExpressionPtr Constant(Value value);

  ExpressionPtr ParseConditional();
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseComparison();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcat();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseUnary();
  ExpressionPtr ParseSigned();
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseNameOrConstant();
  ExpressionPtr ParseNumber();
  ExpressionPtr ParseParenthesized();
  ExpressionPtr ParseList();
  ExpressionPtr ParseObject();
  ExpressionPtr ParsePostfix(ExpressionPtr operand);
  ExpressionPtr ParseFiltersAndTests(ExpressionPtr operand);
  ExpressionPtr ParseAttribute(ExpressionPtr operand);
  ExpressionPtr ParseItem(ExpressionPtr operand);
  ExpressionPtr ParseCall(ExpressionPtr callee);
  ExpressionPtr ParseOneFilter(ExpressionPtr operand);
  ExpressionPtr ParseTest(ExpressionPtr operand);
  std::string TakeDottedName(std::string_view what);
  bool StartsTestArgument() const;
  std::vector<Argument> ParseArguments();

  Tokens& tokens_;
  int depth_ = 0;
  SpecialNames special_names_;
};

}  // namespace latentd::jinja

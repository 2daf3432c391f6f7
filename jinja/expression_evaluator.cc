// The half of the evaluator that computes values.
#include <algorithm>
#include <cmath>
#include <utility>

#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/arithmetic.h"
#include "jinja/comparison.h"
#include "jinja/evaluator.h"
#include "jinja/filters.h"
#include "jinja/globals.h"
#include "jinja/predicates.h"
#include "jinja/printing.h"

namespace latentd::jinja {
namespace {

// Filters that see the rendering are computed while it runs.
bool IsConstant(const Expression& expression) {
  if (expression.kind == ExpressionKind::kName) return false;
  static constexpr std::string_view kOfTheRendering[] = {"map",        "random", "reject",
                                                         "rejectattr", "select", "selectattr"};
  if (expression.kind == ExpressionKind::kFilter && std::ranges::count(kOfTheRendering, expression.name) > 0) {
    return false;
  }
  return std::all_of(expression.operands.begin(), expression.operands.end(),
                     [](const ExpressionPtr& operand) { return operand == nullptr || IsConstant(*operand); }) &&
         std::all_of(expression.arguments.begin(), expression.arguments.end(),
                     [](const Argument& argument) { return IsConstant(*argument.value); });
}

// Jinja writes a negative constant into Python's source without parentheses: its sign comes last there.
bool IsMisreadPower(const Expression& expression, const Value& left) {
  return expression.name == "**" && left.is_number() && std::signbit(left.number()) &&
         IsConstant(*expression.operands[0]) && !IsConstant(*expression.operands[1]);
}

}  // namespace

Value Evaluator::Evaluate(const Expression& expression) {
  const Nested nested(*this);
  if (!runtime_.Spend(1)) return Value();
  runtime_.set_line(expression.line);
  Value value = Dispatch(expression);
  if (value.type() == Type::kFloat && !std::isfinite(value.number())) CheckConstant(expression);
  return value;
}

// Jinja computes constants beforehand and writes the result into Python's source, where `inf` and `nan` are names of
// nothing. It prints an output that is constant as a whole.
void Evaluator::CheckConstant(const Expression& expression) {
  if (!IsConstant(expression) || (printed_ != nullptr && IsConstant(*printed_))) return;
  runtime_.FailNotImplemented("a constant that is infinite or no number");
}

Value Evaluator::EvaluateOptional(const ExpressionPtr& expression) {
  return expression == nullptr ? Value::None() : Evaluate(*expression);
}

std::vector<Value> Evaluator::EvaluateAll(const std::vector<ExpressionPtr>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPtr& expression : expressions) values.push_back(Evaluate(*expression));
  return values;
}

Value Evaluator::Dispatch(const Expression& expression) {
  const std::vector<ExpressionPtr>& operands = expression.operands;
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return expression.constant;
    case ExpressionKind::kName:
      return LookUp(expression.name);
    case ExpressionKind::kList:
      return runtime_.List(EvaluateAll(operands));
    case ExpressionKind::kTuple:
      return runtime_.Tuple(EvaluateAll(operands));
    case ExpressionKind::kObject:
      return MakeObject(expression);
    case ExpressionKind::kAttribute:
      return GetAttribute(runtime_, Evaluate(*operands[0]), expression.name);
    case ExpressionKind::kItem: {
      const Value value = Evaluate(*operands[0]);
      return GetItem(runtime_, value, Evaluate(*operands[1]));
    }
    case ExpressionKind::kSlice:
      return Slice(expression);
    case ExpressionKind::kCall:
      return Call(expression, nullptr);
    case ExpressionKind::kFilter:
      return Filter(expression);
    case ExpressionKind::kTest:
      return Test(expression);
    case ExpressionKind::kNot:
      return Value::Bool(!IsTrue(Evaluate(*operands[0])));
    case ExpressionKind::kUnary:
      return ApplySign(runtime_, expression.name, Evaluate(*operands[0]));
    case ExpressionKind::kBinary: {
      const Value left = Evaluate(*operands[0]);
      const Value right = Evaluate(*operands[1]);
      runtime_.set_line(expression.line);
      if (IsMisreadPower(expression, left)) return runtime_.FailNotImplemented("a power of a negative constant");
      return Calculate(runtime_, expression.name, left, right);
    }
    case ExpressionKind::kConcat:
      return Concat(expression);
    case ExpressionKind::kAnd: {
      Value left = Evaluate(*operands[0]);
      return IsTrue(left) ? Evaluate(*operands[1]) : left;
    }
    case ExpressionKind::kOr: {
      Value left = Evaluate(*operands[0]);
      return IsTrue(left) ? left : Evaluate(*operands[1]);
    }
    case ExpressionKind::kCompare:
      return CompareChain(expression);
    case ExpressionKind::kConditional:
      if (IsTrue(Evaluate(*operands[1]))) return Evaluate(*operands[0]);
      return operands[2] == nullptr ? Value() : Evaluate(*operands[2]);
  }
  return Value();
}

Value Evaluator::LookUp(const std::string& name) {
  if (const Value* variable = scopes_.current()->Find(name)) {
    const bool has_reason = !variable->is_undefined() || !variable->why_undefined().empty();
    return has_reason ? *variable : Value::Undefined(absl::StrFormat("'%s' is undefined", name));
  }
  if (const Value* variable = context_.Find(name)) return *variable;
  if (const Function function = FindGlobal(name)) {
    return Value::MakeCallable({.name = name, .receiver = {}, .function = function});
  }
  if (name == "self") return runtime_.FailNotImplemented("'self'");
  return Value::Undefined(absl::StrFormat("'%s' is undefined", name));
}

Value Evaluator::MakeObject(const Expression& expression) {
  Object object;
  for (size_t i = 0; i + 1 < expression.operands.size(); i += 2) {
    const Value key = Evaluate(*expression.operands[i]);
    if (!object.Set(key, Evaluate(*expression.operands[i + 1]))) {
      return runtime_.FailKey(key);
    }
  }
  return runtime_.MakeObject(std::move(object));
}

Value Evaluator::Slice(const Expression& expression) {
  const Value value = Evaluate(*expression.operands[0]);
  const Value start = EvaluateOptional(expression.operands[1]);
  const Value stop = EvaluateOptional(expression.operands[2]);
  return GetSlice(runtime_, value, start, stop, EvaluateOptional(expression.operands[3]));
}

Value Evaluator::Filter(const Expression& expression) {
  const ExpressionPtr& operand = expression.operands[0];
  const Value value = operand == nullptr ? filter_input_ : Evaluate(*operand);
  const Arguments arguments = EvaluateArguments(expression.arguments);
  runtime_.set_line(expression.line);
  if (runtime_.failed()) return Value();
  const Function filter = FindFilter(expression.name);
  if (filter == nullptr && IsFilterOfJinja(expression.name)) {
    return runtime_.FailNotImplemented(absl::StrFormat("the filter '%s'", expression.name));
  }
  if (filter == nullptr) return runtime_.Fail(absl::StrFormat("there is no filter named '%s'", expression.name));
  return runtime_.Call(filter, value, arguments);
}

Value Evaluator::Test(const Expression& expression) {
  const Value value = Evaluate(*expression.operands[0]);
  const Arguments arguments = EvaluateArguments(expression.arguments);
  if (runtime_.failed()) return Value();
  const Function test = FindTest(expression.name);
  if (test == nullptr) return runtime_.Fail(absl::StrFormat("there is no test named '%s'", expression.name));
  return runtime_.Call(test, value, arguments);
}

Value Evaluator::Concat(const Expression& expression) {
  TracedText text;
  for (const ExpressionPtr& operand : expression.operands) {
    const Value value = Evaluate(*operand);
    if (runtime_.failed()) return Value();
    AppendText(runtime_, value, &text);
    if (!runtime_.ReserveText(text.text.size() / 64)) return Value();
    if (text.text.size() > runtime_.limits().text_bytes) break;
  }
  return runtime_.Text(std::move(text));
}

Value Evaluator::CompareChain(const Expression& expression) {
  Value left = Evaluate(*expression.operands[0]);
  for (size_t i = 0; i < expression.comparisons.size(); ++i) {
    Value right = Evaluate(*expression.operands[i + 1]);
    runtime_.set_line(expression.line);
    if (runtime_.failed()) return Value();
    if (!CompareOnce(expression.comparisons[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

bool Evaluator::CompareOnce(const std::string& operation, const Value& left, const Value& right) {
  if (operation == "==") return Equal(runtime_, left, right);
  if (operation == "!=") return !Equal(runtime_, left, right);
  if (operation == "in") return Contains(runtime_, right, left);
  if (operation == "not in") return !Contains(runtime_, right, left);
  const int order = Compare(runtime_, left, right, operation);
  if (operation == "<") return order < 0;
  if (operation == "<=") return order <= 0;
  return operation == ">" ? order > 0 : order >= 0;
}

}  // namespace latentd::jinja

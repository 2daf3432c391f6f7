#include "jinja/arithmetic.h"

#include <cmath>
#include <limits>

#include <absl/strings/str_format.h>

#include "jinja/comparison.h"
#include "jinja/format.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

Value FailOperands(Runtime& runtime, std::string_view operation, const Value& left, const Value& right) {
  if (left.is_undefined()) return runtime.FailUndefined(left);
  if (right.is_undefined()) return runtime.FailUndefined(right);
  const auto is_unknown = [](const Value& value) { return value.is_markup() || HasUnknownOperators(value); };
  if (is_unknown(left) || is_unknown(right)) {
    return runtime.FailNotImplemented(
        absl::StrFormat("'%s' between %s and %s of this kind", operation, TypeName(left), TypeName(right)));
  }
  return runtime.Fail(
      absl::StrFormat("'%s' has no meaning between %s and %s", operation, TypeName(left), TypeName(right)));
}

Value FailOverflow(Runtime& runtime) { return runtime.FailNotImplemented("an integer of more than 64 bits"); }

Value PowerOfIntegers(Runtime& runtime, int64_t base, int64_t exponent) {
  int64_t result = 1;
  // Beyond 63 doublings only 0, 1 and -1 stay in range, and for those the parity decides.
  const int64_t steps = exponent > 64 ? 64 + exponent % 2 : exponent;
  if (exponent > 64 && (base > 1 || base < -1)) return FailOverflow(runtime);
  for (int64_t i = 0; i < steps; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return FailOverflow(runtime);
  }
  return Value::Integer(result);
}

// operation: / % or d for the quotient rounded down
Value DivideIntegers(Runtime& runtime, char operation, int64_t left, int64_t right) {
  if (right == 0) return runtime.Fail("division by zero");
  if (operation == '/') {
    constexpr int64_t kExact = int64_t{1} << 53;
    if (left > kExact || left < -kExact || right > kExact || right < -kExact) {
      return runtime.FailNotImplemented("a division of integers of more than 53 bits");
    }
    return Value::Float(static_cast<double>(left) / static_cast<double>(right));
  }
  if (right == -1 && operation == '%') return Value::Integer(0);
  if (right == -1) return left == INT64_MIN ? FailOverflow(runtime) : Value::Integer(-left);
  // Python rounds the quotient down, and the remainder has the divisor's sign.
  const int64_t remainder = left % right;
  const bool adjust = remainder != 0 && (remainder < 0) != (right < 0);
  if (operation == '%') return Value::Integer(adjust ? remainder + right : remainder);
  return Value::Integer(left / right - (adjust ? 1 : 0));
}

Value CalculateIntegers(Runtime& runtime, char operation, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (operation) {
    case '+':
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case '-':
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case '*':
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    default:
      return DivideIntegers(runtime, operation, left, right);
  }
  return overflow ? FailOverflow(runtime) : Value::Integer(result);
}

Value CalculateFloats(Runtime& runtime, char operation, double left, double right) {
  switch (operation) {
    case '+':
      return Value::Float(left + right);
    case '-':
      return Value::Float(left - right);
    case '*':
      return Value::Float(left * right);
    default:
      break;
  }
  if (right == 0.0) return runtime.Fail("division by zero");
  if (operation == '/') return Value::Float(left / right);
  double remainder = std::fmod(left, right);
  double quotient = (left - remainder) / right;
  if (remainder == 0.0) {
    remainder = std::copysign(0.0, right);
  } else if ((remainder < 0.0) != (right < 0.0)) {
    remainder += right;
    quotient -= 1.0;
  }
  if (operation == '%') return Value::Float(remainder);
  if (quotient == 0.0) return Value::Float(std::copysign(0.0, left / right));
  const double whole = std::floor(quotient);
  return Value::Float(quotient - whole > 0.5 ? whole + 1.0 : whole);
}

Value Power(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral() && right.integral() >= 0) {
    return PowerOfIntegers(runtime, left.integral(), right.integral());
  }
  if (left.number() == 0.0 && right.number() < 0.0) return runtime.Fail("division by zero");
  const double result = std::pow(left.number(), right.number());
  if (std::isnan(result) && !std::isnan(left.number()) && !std::isnan(right.number())) {
    return runtime.FailNotImplemented("a power that is not real");
  }
  const bool overflows = std::isinf(result) && std::isfinite(left.number()) && std::isfinite(right.number());
  return overflows ? runtime.Fail("a power is too large") : Value::Float(result);
}

Value CalculateNumbers(Runtime& runtime, std::string_view operation, const Value& left, const Value& right) {
  if (operation == "**") return Power(runtime, left, right);
  const char name = operation == "//" ? 'd' : operation.front();
  if (left.is_integral() && right.is_integral()) {
    return CalculateIntegers(runtime, name, left.integral(), right.integral());
  }
  return CalculateFloats(runtime, name, left.number(), right.number());
}

Value RepeatList(Runtime& runtime, const Value& list, int64_t times) {
  const std::vector<Value>& items = list.items();
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (!items.empty() && count > runtime.limits().work / items.size())
    return runtime.Fail("a repeated list is too long");
  if (!runtime.Spend(items.size() * count)) return Value();
  std::vector<Value> repeated;
  repeated.reserve(items.size() * count);
  for (size_t i = 0; i < count; ++i) repeated.insert(repeated.end(), items.begin(), items.end());
  return list.is_tuple() ? runtime.Tuple(std::move(repeated)) : runtime.List(std::move(repeated));
}

Value Add(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_text() && right.is_text() && !left.is_markup() && !right.is_markup()) {
    if (!runtime.ReserveText(left.text().size() + right.text().size())) return Value();
    TracedText text = left.traced_text();
    text.Append(right.traced_text());
    return runtime.Text(std::move(text));
  }
  if (left.is_list() && right.is_list() && left.is_tuple() == right.is_tuple()) {
    std::vector<Value> items = left.items();
    items.insert(items.end(), right.items().begin(), right.items().end());
    return left.is_tuple() ? runtime.Tuple(std::move(items)) : runtime.List(std::move(items));
  }
  return FailOperands(runtime, "+", left, right);
}

Value Multiply(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_markup() || right.is_markup()) return FailOperands(runtime, "*", left, right);
  if (left.is_text() && right.is_integral()) return RepeatText(runtime, left.traced_text(), right.integral());
  if (right.is_text() && left.is_integral()) return RepeatText(runtime, right.traced_text(), left.integral());
  if (left.is_list() && right.is_integral()) return RepeatList(runtime, left, right.integral());
  if (right.is_list() && left.is_integral()) return RepeatList(runtime, right, left.integral());
  return FailOperands(runtime, "*", left, right);
}

}  // namespace

Value Calculate(Runtime& runtime, std::string_view operation, const Value& left, const Value& right) {
  if (runtime.failed()) return Value();
  if (left.is_number() && right.is_number()) return CalculateNumbers(runtime, operation, left, right);
  if (operation == "+") return Add(runtime, left, right);
  if (operation == "*") return Multiply(runtime, left, right);
  if (operation == "%" && left.is_text() && !left.is_markup()) return FormatPercent(runtime, left, right);
  return FailOperands(runtime, operation, left, right);
}

Value ApplySign(Runtime& runtime, std::string_view operation, const Value& operand) {
  if (operand.is_integral()) {
    return operation == "-" ? CalculateIntegers(runtime, '-', 0, operand.integral())
                            : Value::Integer(operand.integral());
  }
  if (operand.type() == Type::kFloat) return Value::Float(operation == "-" ? -operand.number() : operand.number());
  if (operand.is_undefined()) return runtime.FailUndefined(operand);
  if (operand.type() == Type::kBigInteger) return FailOverflow(runtime);
  return runtime.Fail(absl::StrFormat("'%s' has no meaning before %s", operation, TypeName(operand)));
}

Value RepeatText(Runtime& runtime, const TracedText& piece, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  const size_t size = piece.text.size();
  if (size == 0 || count == 0) return Value::Text("");
  if (count > std::numeric_limits<size_t>::max() / size) return runtime.Fail("a repeated text is too long");
  if (!runtime.ReserveText(size * count) || !runtime.Spend(piece.from_request.size() * count)) return Value();
  TracedText repeated;
  repeated.text.reserve(size * count);
  for (size_t i = 0; i < count; ++i) repeated.Append(piece);
  return Value::Text(std::move(repeated));
}

}  // namespace latentd::jinja

#include "jinja/predicates.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "jinja/access.h"
#include "jinja/arithmetic.h"
#include "jinja/comparison.h"
#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

// Tests of the value alone: a predicate as a template argument makes a Function.
template <bool (*kPredicate)(const Value&)>
Value Unary(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "this test", arguments, {});
  return Value::Bool(kPredicate(value));
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.type() == Type::kBool; }
bool IsTrueItself(const Value& value) { return IsBoolean(value) && value.boolean(); }
bool IsFalseItself(const Value& value) { return IsBoolean(value) && !value.boolean(); }
bool IsInteger(const Value& value) { return value.type() == Type::kInteger || value.type() == Type::kBigInteger; }
bool IsFloat(const Value& value) { return value.type() == Type::kFloat; }
bool IsNumber(const Value& value) { return value.is_number() || value.type() == Type::kBigInteger; }
bool IsString(const Value& value) { return value.is_text(); }
bool IsMapping(const Value& value) { return value.is_object(); }
bool IsCallable(const Value& value) {
  return value.type() == Type::kCallable || value.is_undefined() || value.type() == Type::kLoop;
}
bool IsEscaped(const Value& value) { return value.is_markup(); }

Value Remainder(Runtime& runtime, const Value& value, int64_t divisor) {
  return Calculate(runtime, "%", value, Value::Integer(divisor));
}

Value OddTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "this test", arguments, {});

  return Value::Bool(Equal(runtime, Remainder(runtime, value, 2), Value::Integer(1)));
}

Value EvenTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "this test", arguments, {});

  return Value::Bool(Equal(runtime, Remainder(runtime, value, 2), Value::Integer(0)));
}

Value DivisibleByTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "divisibleby", arguments, {"num"}, 1);
  return Value::Bool(Equal(runtime, Calculate(runtime, "%", value, parameters.Get(0)), Value::Integer(0)));
}

template <bool (*kAccepts)(int)>
Value OrderTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "a comparing test", arguments, {"other"}, 1);
  return Value::Bool(kAccepts(Compare(runtime, value, parameters.Get(0))));
}

bool IsLess(int order) { return order < 0; }
bool IsAtMost(int order) { return order <= 0; }
bool IsGreater(int order) { return order > 0; }
bool IsAtLeast(int order) { return order >= 0; }

Value EqualTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "eq", arguments, {"other"}, 1);
  return Value::Bool(Equal(runtime, value, parameters.Get(0)));
}

Value NotEqualTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "ne", arguments, {"other"}, 1);
  return Value::Bool(!Equal(runtime, value, parameters.Get(0)));
}

Value InTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "in", arguments, {"seq"}, 1);
  return Value::Bool(Contains(runtime, parameters.Get(0), value));
}

Value SameAsTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "sameas", arguments, {"other"}, 1);
  return Value::Bool(value.SameAs(parameters.Get(0)));
}

Value TextTest(Runtime& runtime, const Value& value, std::string_view method) {
  const Value text = runtime.Text(ToText(runtime, value));
  return runtime.failed() ? Value() : FindTextMethod(method)(runtime, text, {});
}

Value LowerTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "this test", arguments, {});
  return TextTest(runtime, value, "islower");
}
Value UpperTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "this test", arguments, {});
  return TextTest(runtime, value, "isupper");
}

bool IsUnhashable(const Value& value) {
  if (value.is_iterable()) {
    return value.iterable().kind == IterableKind::kKeys || value.iterable().kind == IterableKind::kItems;
  }
  return value.is_object() || (value.is_list() && (!value.is_tuple() || !HashKey(value)));
}

Value FilterTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "filter", arguments, {});
  if (IsUnhashable(value)) return runtime.Fail("expected the name of a filter, found " + std::string(TypeName(value)));
  if (value.is_text() && IsFilterOfJinja(value.text())) {
    return runtime.FailNotImplemented("the filter '" + value.text() + "'");
  }
  return Value::Bool(value.is_text() && FindFilter(value.text()) != nullptr);
}

Value TestTest(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "test", arguments, {});
  if (IsUnhashable(value)) return runtime.Fail("expected the name of a test, found " + std::string(TypeName(value)));
  return Value::Bool(value.is_text() && FindTest(value.text()) != nullptr);
}

constexpr std::pair<std::string_view, Function> kTests[] = {
    {"!=", NotEqualTest},
    {"<", OrderTest<IsLess>},
    {"<=", OrderTest<IsAtMost>},
    {"==", EqualTest},
    {">", OrderTest<IsGreater>},
    {">=", OrderTest<IsAtLeast>},
    {"boolean", Unary<IsBoolean>},
    {"callable", Unary<IsCallable>},
    {"defined", Unary<IsDefined>},
    {"divisibleby", DivisibleByTest},
    {"eq", EqualTest},
    {"equalto", EqualTest},
    {"escaped", Unary<IsEscaped>},
    {"even", EvenTest},
    {"false", Unary<IsFalseItself>},
    {"filter", FilterTest},
    {"float", Unary<IsFloat>},
    {"ge", OrderTest<IsAtLeast>},
    {"greaterthan", OrderTest<IsGreater>},
    {"gt", OrderTest<IsGreater>},
    {"in", InTest},
    {"integer", Unary<IsInteger>},
    {"iterable", Unary<IsIterable>},
    {"le", OrderTest<IsAtMost>},
    {"lessthan", OrderTest<IsLess>},
    {"lower", LowerTest},
    {"lt", OrderTest<IsLess>},
    {"mapping", Unary<IsMapping>},
    {"ne", NotEqualTest},
    {"none", Unary<IsNone>},
    {"number", Unary<IsNumber>},
    {"odd", OddTest},
    {"sameas", SameAsTest},
    {"sequence", Unary<IsSequence>},
    {"string", Unary<IsString>},
    {"test", TestTest},
    {"true", Unary<IsTrueItself>},
    {"undefined", Unary<IsUndefined>},
    {"upper", UpperTest},
};

}  // namespace

Function FindTest(std::string_view name) {
  const auto test =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const auto& entry) { return entry.first == name; });
  return test == std::end(kTests) ? nullptr : test->second;
}

}  // namespace latentd::jinja

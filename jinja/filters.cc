// Filters of any value: defaults, conversions, JSON. Text, sequences and selection have files of their own.
#include "jinja/filters.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <utility>

#include <absl/strings/numbers.h>

#include "jinja/access.h"
#include "jinja/comparison.h"
#include "jinja/json_reader.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/python_number.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

Value AbsFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "abs", arguments, {});
  if (value.type() == Type::kBigInteger || (value.is_integral() && value.integral() == INT64_MIN)) {
    return runtime.FailNotImplemented("abs of an integer of more than 64 bits");
  }
  if (value.is_integral()) return Value::Integer(std::abs(value.integral()));
  if (value.type() == Type::kFloat) return Value::Float(std::fabs(value.number()));
  return runtime.Fail("abs needs a number, found " + std::string(TypeName(value)));
}

Value AttrFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string name = Parameters(runtime, "attr", arguments, {"name"}, 1).Text(0, "");
  if (value.is_undefined() || (value.is_object() && IsMissingAttribute(value, name))) {
    return runtime.FailNotImplemented("attr('" + name + "') of this value");
  }
  if (value.is_object() && FindObjectMethod(name) == nullptr) {
    return Value::Undefined("'dict object' has no attribute '" + name + "'");
  }
  return GetAttribute(runtime, value, name);
}

Value DefaultFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "default", arguments, {"default_value", "boolean"});
  const bool missing = value.is_undefined() || (parameters.Truth(1, false) && !IsTrue(value));
  return missing ? parameters.Get(0, Value::Text("")) : value;
}

Value FromFloat(Runtime& runtime, double number, const Value& otherwise) {
  constexpr double kLimit = 9.2e18;
  if (!std::isfinite(number)) return otherwise;
  if (std::fabs(number) >= kLimit) return runtime.FailNotImplemented("an integer of more than 64 bits");
  return Value::Integer(static_cast<int64_t>(number));
}

Value IntFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "int", arguments, {"default", "base"});
  const Value otherwise = parameters.Get(0, Value::Integer(0));
  const int64_t base = value.is_text() ? parameters.Integer(1, 10) : 10;
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_integral()) return Value::Integer(value.integral());
  if (value.type() == Type::kBigInteger) return value;
  if (value.type() == Type::kFloat && std::isinf(value.number())) {
    return runtime.Fail("cannot convert float infinity to integer");
  }
  if (value.type() == Type::kFloat) return FromFloat(runtime, value.number(), otherwise);
  if (!value.is_text()) return value.is_iterable() ? runtime.FailNotImplemented("int of this") : otherwise;
  runtime.SpendBytes(value.text().size());
  if (base == 0) return runtime.FailNotImplemented("int with the base 0");
  const PythonInteger integer = ReadPythonInteger(value.text(), base);
  if (integer.is_too_long) return runtime.FailNotImplemented("an integer of more than 64 bits");
  if (integer.value) return Value::Integer(*integer.value);
  const std::optional<double> real = ReadPythonFloat(value.text());
  return real ? FromFloat(runtime, *real, otherwise) : otherwise;
}

Value FloatFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value otherwise = Parameters(runtime, "float", arguments, {"default"}).Get(0, Value::Float(0.0));
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_number()) return Value::Float(value.number());
  if (value.type() == Type::kBigInteger) return Value::Float(ReadPythonFloat(value.digits()).value_or(0.0));
  if (!value.is_text()) return value.is_iterable() ? runtime.FailNotImplemented("float of this") : otherwise;
  runtime.SpendBytes(value.text().size());
  const std::optional<double> number = ReadPythonFloat(value.text());
  return number ? Value::Float(*number) : otherwise;
}

// Python rounds the exact binary value to the nearest decimal, as printf does.
double RoundTo(double number, int digits) {
  if (digits < 0) {
    const double scale = std::pow(10.0, -digits);
    return std::nearbyint(number / scale) * scale;
  }
  char buffer[512];
  std::snprintf(buffer, sizeof(buffer), "%.*f", digits, number);
  double rounded = number;
  return absl::SimpleAtod(buffer, &rounded) ? rounded : number;
}

Value RoundFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "round", arguments, {"precision", "method"});
  if (parameters.given(0) && parameters.Get(0).is_none()) return runtime.FailNotImplemented("round to no precision");
  const auto precision = static_cast<int>(std::clamp<int64_t>(parameters.Integer(0, 0), -20, 100));
  const std::string method = parameters.Text(1, "common");
  if (value.type() == Type::kBigInteger) return runtime.FailNotImplemented("round of an integer of more than 64 bits");
  if (!value.is_number()) return runtime.Fail("round needs a number, found " + std::string(TypeName(value)));
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, precision);
    const double scaled = value.number() * scale;
    if (!std::isfinite(scaled)) return runtime.Fail("round needs a finite number");
    return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale + 0.0);
  }
  if (method != "common") return runtime.Fail("round knows common, ceil and floor, found " + method);
  if (value.is_integral() && precision >= 0) return Value::Integer(value.integral());
  const double rounded = RoundTo(value.number(), precision);
  return value.is_integral() ? FromFloat(runtime, rounded, value) : Value::Float(rounded);
}

Value LengthFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "length", arguments, {});
  return Value::Integer(Length(runtime, value));
}

Value StringFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "string", arguments, {});
  return value.is_text() ? value : runtime.Text(ToText(runtime, value));
}

Value ReprFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "pprint", arguments, {});
  constexpr size_t kLineBytes = 79;  // beyond which Python breaks lines; it sorts the keys of dicts, too
  std::string text = ToRepr(runtime, value);
  if (text.size() > kLineBytes || text.find('{') != std::string::npos)
    return runtime.FailNotImplemented("pprint of this");
  return runtime.Text(std::move(text));
}

// The parameters are those of the function that Hugging Face puts in place of Jinja's tojson.
Value JsonFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii_only = parameters.Truth(0, false);
  style.sort_keys = parameters.Truth(3, false);
  const Value indent = parameters.Get(1);
  if (!indent.is_none()) {
    style.multiple_lines = true;
    style.item_separator = ",";
    const int64_t spaces = indent.is_text() ? 0 : std::max<int64_t>(parameters.Integer(1, 0), 0);
    if (!runtime.ReserveText(static_cast<size_t>(spaces))) return Value();
    style.indent = indent.is_text() ? indent.text() : std::string(static_cast<size_t>(spaces), ' ');
  }
  const Value separators = parameters.Get(2);
  if (!separators.is_none()) {
    if (!separators.is_list() || separators.items().size() != 2 || !separators.items()[0].is_text() ||
        !separators.items()[1].is_text()) {
      return runtime.Fail("tojson expects two strings as 'separators'");
    }
    style.item_separator = separators.items()[0].text();
    style.key_separator = separators.items()[1].text();
  }
  return runtime.Text(ToJson(runtime, value, style));
}

// Not in Jinja: llama.cpp's templates use it to read tool arguments that arrive as text.
Value FromJsonFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "from_json", arguments, {});
  if (!value.is_text()) return runtime.Fail("from_json needs a string, found " + std::string(TypeName(value)));
  if (!runtime.Spend(value.text().size() * 8)) return Value();
  absl::StatusOr<Value> parsed = ParseJson(value.text());
  if (!parsed.ok()) return runtime.Fail(std::string(parsed.status().message()));
  return value.has_request_text() ? FromRequest(*parsed) : *std::move(parsed);
}

constexpr std::pair<std::string_view, Function> kFilters[] = {
    {"abs", AbsFilter},         {"attr", AttrFilter},   {"count", LengthFilter},       {"d", DefaultFilter},
    {"default", DefaultFilter}, {"float", FloatFilter}, {"from_json", FromJsonFilter}, {"int", IntFilter},
    {"length", LengthFilter},   {"pprint", ReprFilter}, {"round", RoundFilter},        {"string", StringFilter},
    {"tojson", JsonFilter},
};

}  // namespace

bool IsFilterOfJinja(std::string_view name) {
  constexpr std::string_view kOthers[] = {"filesizeformat", "random", "striptags", "urlize", "wordwrap", "xmlattr"};
  return std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers);
}

Function FindFilter(std::string_view name) {
  const auto filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& entry) { return entry.first == name; });
  if (filter != std::end(kFilters)) return filter->second;
  if (const Function found = FindTextFilter(name)) return found;
  if (const Function found = FindSequenceFilter(name)) return found;
  return FindSelectionFilter(name);
}

}  // namespace latentd::jinja

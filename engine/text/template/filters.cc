// Filters of any value: defaults, conversions, JSON. Text, sequences and selection have files of their own.
#include "engine/text/template/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <utility>

#include <absl/strings/numbers.h>

#include "engine/text/template/access.h"
#include "engine/text/template/comparison.h"
#include "engine/text/template/json_reader.h"
#include "engine/text/template/methods.h"
#include "engine/text/template/printing.h"
#include "engine/text/template/runtime.h"

namespace latentd::jinja {
namespace {

Value AbsFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "abs", arguments, {});
  if (value.is_integral() && value.integral() != INT64_MIN) return Value::Integer(std::abs(value.integral()));
  if (value.type() == Type::kFloat) return Value::Float(std::fabs(value.number()));
  return runtime.Fail("abs needs a number, found " + std::string(TypeName(value)));
}

Value AttrFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string name = Parameters(runtime, "attr", arguments, {"name"}, 1).Text(0, "");
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

// A whole text as a number: white space around it and underscores between digits are allowed, as in Python.
std::string NumberText(const Value& value) {
  std::string text = value.text();
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  const size_t start = text.find_first_not_of(" \t\n\r\f\v");
  if (start == std::string::npos) return "";
  return text.substr(start, text.find_last_not_of(" \t\n\r\f\v") - start + 1);
}

Value FromFloat(double number, const Value& otherwise) {
  constexpr double kLimit = 9.2e18;
  if (!(std::fabs(number) < kLimit)) return otherwise;
  return Value::Integer(static_cast<int64_t>(number));
}

Value TextToInteger(std::string text, int64_t base, const Value& otherwise) {
  const std::string written = text;
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.erase(0, 1);
  const char prefix = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (prefix != '\0' && text.size() > 1 && text[0] == '0' && (text[1] | 0x20) == prefix) text.erase(0, 2);
  int64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number, static_cast<int>(base));
  if (error == std::errc() && end == last && !text.starts_with("-")) return Value::Integer(negative ? -number : number);
  double real = 0.0;
  return absl::SimpleAtod(written, &real) ? FromFloat(real, otherwise) : otherwise;
}

Value IntFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "int", arguments, {"default", "base"});
  const Value otherwise = parameters.Get(0, Value::Integer(0));
  const int64_t base = parameters.Integer(1, 10);
  if (base < 2 || base > 36) return runtime.Fail("int needs a base from 2 to 36");
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_integral()) return Value::Integer(value.integral());
  if (value.type() == Type::kBigInteger) return value;
  if (value.type() == Type::kFloat) return FromFloat(value.number(), otherwise);
  return value.is_text() ? TextToInteger(NumberText(value), base, otherwise) : otherwise;
}

Value FloatFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value otherwise = Parameters(runtime, "float", arguments, {"default"}).Get(0, Value::Float(0.0));
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_number()) return Value::Float(value.number());
  double number = 0.0;
  return value.is_text() && absl::SimpleAtod(NumberText(value), &number) ? Value::Float(number) : otherwise;
}

// Python rounds the exact binary value to the nearest decimal, which is what printf does too.
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
  const auto precision = static_cast<int>(std::clamp<int64_t>(parameters.Integer(0, 0), -20, 100));
  const std::string method = parameters.Text(1, "common");
  if (!value.is_number()) return runtime.Fail("round needs a number, found " + std::string(TypeName(value)));
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, precision);
    const double scaled = value.number() * scale;
    return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (method != "common") return runtime.Fail("round knows common, ceil and floor, found " + method);
  if (value.is_integral() && precision >= 0) return Value::Integer(value.integral());
  const double rounded = RoundTo(value.number(), precision);
  return value.is_integral() ? FromFloat(rounded, value) : Value::Float(rounded);
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
  return runtime.Text(ToRepr(runtime, value));
}

// Output is never escaped here, so there is nothing to mark.
Value SafeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return StringFilter(runtime, value, arguments);
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
    {"length", LengthFilter},   {"pprint", ReprFilter}, {"round", RoundFilter},        {"safe", SafeFilter},
    {"string", StringFilter},   {"tojson", JsonFilter},
};

}  // namespace

Function FindFilter(std::string_view name) {
  const auto filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& entry) { return entry.first == name; });
  if (filter != std::end(kFilters)) return filter->second;
  if (const Function found = FindTextFilter(name)) return found;
  if (const Function found = FindSequenceFilter(name)) return found;
  return FindSelectionFilter(name);
}

}  // namespace latentd::jinja

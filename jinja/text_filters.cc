// Filters that make text from text.
#include <algorithm>
#include <iterator>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/code_points.h"
#include "jinja/filters.h"
#include "jinja/format.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

Value AsText(Runtime& runtime, const Value& value) {
  return value.is_text() ? value : runtime.Text(ToText(runtime, value));
}

Value AsMarkup(const Value& text) {
  if (!text.is_text()) return text;
  TracedText markup = text.traced_text();
  markup.kind = TextKind::kMarkup;
  return Value::Text(std::move(markup));
}

Value FailMarkup(Runtime& runtime) {
  return runtime.FailNotImplemented("a filter that changes what is marked as safe");
}

// A filter that is the method of the same behaviour, applied to the value's text.
Value ApplyMethod(Runtime& runtime, const Value& value, std::string_view method, const Arguments& arguments) {
  if (value.is_markup()) return FailMarkup(runtime);
  const Value text = AsText(runtime, value);
  return runtime.failed() ? Value() : FindTextMethod(method)(runtime, text, arguments);
}

Value UpperFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ApplyMethod(runtime, value, "upper", arguments);
}

Value LowerFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ApplyMethod(runtime, value, "lower", arguments);
}

Value CapitalizeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ApplyMethod(runtime, value, "capitalize", arguments);
}

Value TrimFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ApplyMethod(runtime, value, "strip", arguments);
}

Value CenterFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const int64_t width = Parameters(runtime, "center", arguments, {"width"}).Integer(0, 80);
  return ApplyMethod(runtime, value, "center", {.positional = {Value::Integer(width)}, .named = {}});
}

Value ReplaceFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  Arguments texts;
  texts.positional = {AsText(runtime, parameters.Get(0)), AsText(runtime, parameters.Get(1))};
  if (!parameters.Get(2).is_none()) texts.positional.push_back(parameters.Get(2));
  return ApplyMethod(runtime, value, "replace", texts);
}

bool StartsWord(char32_t c) { return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || IsSpace(c); }

// Words, and the runs between them, are each made lower case as a whole: a sigma at the end of one looks different.
Value TitleFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "title", arguments, {});
  const Value text = AsText(runtime, value);
  if (runtime.failed()) return Value();
  std::string_view rest = text.text();
  std::string title;
  while (!rest.empty()) {
    size_t first_end = 0;
    const bool is_word = !StartsWord(NextCodePoint(rest, &first_end));
    size_t end = first_end;
    for (size_t next = end; next < rest.size(); end = next) {
      if (StartsWord(NextCodePoint(rest, &next)) == is_word) break;
    }
    title += ToUpper(rest.substr(0, first_end)) + ToLower(rest.substr(first_end, end - first_end));
    rest.remove_prefix(end);
  }
  return runtime.Text(std::move(title));
}

Value ForceEscapeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "escape", arguments, {});
  std::string escaped;
  const Value text = AsText(runtime, value);
  if (runtime.failed()) return Value();
  for (const char c : text.text()) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return AsMarkup(runtime.Text(std::move(escaped)));
}

Value EscapeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return value.is_markup() ? value : ForceEscapeFilter(runtime, value, arguments);
}

// Output is never escaped here; Python still computes with the result in its own way.
Value SafeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "safe", arguments, {});
  return AsMarkup(AsText(runtime, value));
}

Value FormatFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (value.is_markup()) return FailMarkup(runtime);
  const Value text = AsText(runtime, value);
  if (runtime.failed()) return Value();
  if (arguments.named.empty()) return FormatPercent(runtime, text, runtime.Tuple(arguments.positional));
  if (!arguments.positional.empty()) return runtime.Fail("format takes positional or named arguments, found both");
  Object named;
  for (const auto& [name, argument] : arguments.named) named.Set(name, argument);
  return FormatPercent(runtime, text, runtime.MakeObject(std::move(named)));
}

Value IndentFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "indent", arguments, {"width", "first", "blank"});
  if (value.is_markup()) return FailMarkup(runtime);
  if (!value.is_text()) return runtime.Fail("indent needs a string, found " + std::string(TypeName(value)));
  const Value width = parameters.Get(0, Value::Integer(4));
  const int64_t spaces = width.is_text() ? 0 : std::max<int64_t>(parameters.Integer(0, 4), 0);
  if (!runtime.ReserveText(static_cast<size_t>(spaces))) return Value();
  const std::string indent = width.is_text() ? width.text() : std::string(static_cast<size_t>(spaces), ' ');
  const bool indents_blank = parameters.Truth(2, false);
  const Value lines = FindTextMethod("splitlines")(runtime, Value::Text(value.text() + "\n"), {});
  if (runtime.failed()) return Value();
  std::string out = parameters.Truth(1, false) ? indent : "";
  for (size_t i = 0; i < lines.items().size(); ++i) {
    const std::string& line = lines.items()[i].text();
    if (!runtime.SpendBytes(indent.size() + line.size()) || !runtime.ReserveText(out.size() / 64)) return Value();
    if (i > 0) out += '\n';
    if (i > 0 && (indents_blank || !line.empty())) out += indent;
    out += line;
    if (out.size() > runtime.limits().text_bytes) break;
  }
  return runtime.Text(std::move(out));
}

Value TruncateFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  if (value.is_markup()) return FailMarkup(runtime);
  constexpr int64_t kLongest = int64_t{1} << 40;
  const int64_t length = std::min(parameters.Integer(0, 255), kLongest);
  const std::string end = parameters.Text(2, "...");
  const int64_t leeway = std::min(parameters.Get(3).is_none() ? 5 : parameters.Integer(3, 5), kLongest);
  const auto end_length = static_cast<int64_t>(CountCodePoints(end));
  if (length < end_length || leeway < 0)
    return runtime.Fail("truncate needs a length that holds its end, and a leeway");
  if (!value.is_text()) {
    const bool fits = Length(runtime, value) <= length + leeway;
    return fits ? value : runtime.FailNotImplemented("truncate of what is no string");
  }
  const std::string& text = value.text();
  runtime.SpendBytes(text.size());
  if (static_cast<int64_t>(CountCodePoints(text)) <= length + leeway) return value;
  std::string kept = text.substr(0, ByteOffset(text, static_cast<size_t>(length - end_length)));
  if (!parameters.Truth(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return runtime.Text(kept + end);
}

Value WordCountFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "wordcount", arguments, {});
  const Value text = AsText(runtime, value);
  if (runtime.failed()) return Value();
  int64_t count = 0;
  bool in_word = false;
  for (size_t position = 0; position < text.text().size();) {
    const char32_t c = NextCodePoint(text.text(), &position);
    const bool is_word = c == '_' || IsLetter(c) || IsNumeric(c);
    count += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  return Value::Integer(count);
}

Value UrlEncodeFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "urlencode", arguments, {});
  if (value.is_object() || value.is_list() || value.is_iterable())
    return runtime.FailNotImplemented("urlencode of what is no string");
  const Value text = AsText(runtime, value);
  if (runtime.failed() || !runtime.ReserveText(text.text().size() * 3)) return Value();
  std::string encoded;
  for (const char c : text.text()) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          std::string_view("_.-~/").find(c) != std::string_view::npos;
    if (is_plain) {
      encoded += c;
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return runtime.Text(std::move(encoded));
}

constexpr std::pair<std::string_view, Function> kFilters[] = {
    {"capitalize", CapitalizeFilter},
    {"center", CenterFilter},
    {"e", EscapeFilter},
    {"escape", EscapeFilter},
    {"forceescape", ForceEscapeFilter},
    {"format", FormatFilter},
    {"indent", IndentFilter},
    {"lower", LowerFilter},
    {"replace", ReplaceFilter},
    {"safe", SafeFilter},
    {"title", TitleFilter},
    {"trim", TrimFilter},
    {"truncate", TruncateFilter},
    {"upper", UpperFilter},
    {"urlencode", UrlEncodeFilter},
    {"wordcount", WordCountFilter},
};

}  // namespace

Function FindTextFilter(std::string_view name) {
  const auto filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& entry) { return entry.first == name; });
  return filter == std::end(kFilters) ? nullptr : filter->second;
}

}  // namespace latentd::jinja

// Methods of strings that change or ask about the whole text; searching and splitting are in text_search_methods.cc.
#include <algorithm>
#include <iterator>
#include <utility>

#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/arithmetic.h"
#include "jinja/code_points.h"
#include "jinja/comparison.h"
#include "jinja/format.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

enum class Side { kLeft, kRight, kBoth };

Value Strip(Runtime& runtime, const Value& receiver, const Arguments& arguments, Side side) {
  const Parameters parameters(runtime, "strip", arguments, {"chars"});
  const Value chars = parameters.Get(0);
  std::string_view text = receiver.text();
  runtime.SpendBytes(text.size());
  if (chars.is_none()) {
    if (side != Side::kRight) text = StripLeft(text);
    if (side != Side::kLeft) text = StripRight(text);
    return runtime.Part(receiver, text);
  }
  const std::string characters = parameters.Text(0, "");
  // Each code point of the text may scan all characters.
  runtime.Spend(std::min(text.size(), size_t{4096}) * characters.size() / 64);
  if (side != Side::kRight) text = StripLeft(text, characters);
  if (side != Side::kLeft) text = StripRight(text, characters);
  return runtime.Part(receiver, text);
}

Value StripMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Strip(runtime, receiver, arguments, Side::kBoth);
}

Value LeftStripMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Strip(runtime, receiver, arguments, Side::kLeft);
}

Value RightStripMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Strip(runtime, receiver, arguments, Side::kRight);
}

template <std::string (*kConvert)(std::string_view)>
Value ConvertMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a conversion of case", arguments, {});
  return runtime.ReserveText(receiver.text().size()) ? runtime.Text(kConvert(receiver.text())) : Value();
}

Value ExpandTabsMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const int64_t tab = Parameters(runtime, "expandtabs", arguments, {"tabsize"}).Integer(0, 8);
  TracedText expanded;
  int64_t column = 0;
  for (size_t position = 0; position < receiver.text().size() && !runtime.failed();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(receiver.text(), &position);
    if (c == U'\t') {
      const int64_t spaces = tab > 0 ? tab - column % tab : 0;
      column += spaces;
      if (runtime.ReserveText(static_cast<size_t>(spaces))) {
        expanded.Append(std::string(static_cast<size_t>(spaces), ' '));
      }
    } else {
      expanded.AppendPart(receiver.traced_text(), start, position);
      column = c == U'\n' || c == U'\r' ? 0 : column + 1;
    }
  }
  return runtime.Text(std::move(expanded));
}

// Words begin with a capital and go on without any.
Value IsTitleMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "istitle", arguments, {});
  runtime.SpendBytes(receiver.text().size());
  bool in_word = false;
  bool found = false;
  for (size_t position = 0; position < receiver.text().size();) {
    const char32_t c = NextCodePoint(receiver.text(), &position);
    const bool is_capital = IsUpper(c) || IsTitle(c);
    if (is_capital ? in_word : IsLower(c) && !in_word) return Value::Bool(false);
    in_word = is_capital || IsLower(c);
    found |= in_word;
  }
  return Value::Bool(found);
}

Value RemovePrefixMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const std::string prefix = Parameters(runtime, "removeprefix", arguments, {"prefix"}, 1).Text(0, "");
  const std::string_view text = receiver.text();
  return text.starts_with(prefix) ? runtime.Part(receiver, text.substr(prefix.size())) : receiver;
}

Value RemoveSuffixMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const std::string suffix = Parameters(runtime, "removesuffix", arguments, {"suffix"}, 1).Text(0, "");
  const std::string_view text = receiver.text();
  return text.ends_with(suffix) ? runtime.Part(receiver, text.substr(0, text.size() - suffix.size())) : receiver;
}

Value JoinMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "join", arguments, {"iterable"}, 1);
  TracedText joined;
  bool first = true;
  for (const Value& item : Iterate(runtime, parameters.Get(0))) {
    if (!item.is_text()) return runtime.Fail("join needs strings, found " + std::string(TypeName(item)));
    if (!runtime.SpendBytes(receiver.text().size() + item.text().size())) return Value();
    if (!first) joined.Append(receiver.traced_text());
    joined.Append(item.traced_text());
    first = false;
  }
  return runtime.Text(std::move(joined));
}

Value FormatMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return FormatBraces(runtime, receiver, arguments);
}

// b'…' as Python writes it.
std::string PrintedBytes(std::string_view bytes) {
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  std::string printed = std::string("b") + quote;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (byte == quote || byte == '\\') {
      printed += std::string("\\") + byte;
    } else if (byte == '\n' || byte == '\r' || byte == '\t') {
      printed += byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : "\\t";
    } else if (code >= 32 && code < 127) {
      printed += byte;
    } else {
      absl::StrAppendFormat(&printed, "\\x%02x", code);
    }
  }
  return printed + quote;
}

Value EncodeMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const std::string encoding =
      ToLower(Parameters(runtime, "encode", arguments, {"encoding", "errors"}).Text(0, "utf-8"));
  if (encoding != "utf-8" && encoding != "utf8") return runtime.FailNotImplemented("the encoding " + encoding);
  if (!runtime.Spend(receiver.text().size())) return Value();
  std::vector<Value> bytes;
  for (const char byte : receiver.text()) bytes.push_back(Value::Integer(static_cast<unsigned char>(byte)));
  return runtime.MakeIterable(
      {.kind = IterableKind::kBytes, .items = std::move(bytes), .printed = PrintedBytes(receiver.text())});
}

enum class Justify { kLeft, kRight, kCenter };

Value Pad(Runtime& runtime, const Value& receiver, const Arguments& arguments, Justify justify) {
  const Parameters parameters(runtime, "a justifying method", arguments, {"width", "fillchar"}, 1);
  const TracedText fill = parameters.Traced(1, " ");
  if (CountCodePoints(fill.text) != 1) return runtime.Fail("expected one character to fill with");
  const int64_t padding = parameters.Integer(0, 0) - Length(runtime, receiver);
  if (padding <= 0) return receiver;
  // Python puts the odd character of a centred text on the left only when the width is odd too.
  const int64_t centred = padding / 2 + (padding & parameters.Integer(0, 0) & 1);
  const int64_t left = justify == Justify::kLeft ? 0 : justify == Justify::kRight ? padding : centred;
  const Value before = RepeatText(runtime, fill, left);
  const Value after = RepeatText(runtime, fill, padding - left);
  if (runtime.failed()) return Value();
  TracedText padded = before.traced_text();
  padded.Append(receiver.traced_text());
  padded.Append(after.traced_text());
  return runtime.Text(std::move(padded));
}

Value LeftJustifyMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Pad(runtime, receiver, arguments, Justify::kLeft);
}

Value RightJustifyMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Pad(runtime, receiver, arguments, Justify::kRight);
}

Value CenterMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Pad(runtime, receiver, arguments, Justify::kCenter);
}

Value ZeroFillMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const int64_t width = Parameters(runtime, "zfill", arguments, {"width"}, 1).Integer(0, 0);
  const Value zeros = RepeatText(runtime, {.text = "0", .from_request = {}}, width - Length(runtime, receiver));
  if (runtime.failed()) return Value();
  const std::string& text = receiver.text();
  const size_t sign = text.starts_with("-") || text.starts_with("+") ? 1 : 0;
  return runtime.Text(text.substr(0, sign) + zeros.text() + text.substr(sign));
}

// True when the text is not empty and all its code points have the property.
template <bool (*kProperty)(char32_t)>
Value AllMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a question about a text", arguments, {});
  runtime.SpendBytes(receiver.text().size());
  for (size_t position = 0; position < receiver.text().size();) {
    if (!kProperty(NextCodePoint(receiver.text(), &position))) return Value::Bool(false);
  }
  return Value::Bool(!receiver.text().empty());
}

// True when there is a cased letter and all of them have this case.
template <bool (*kWanted)(char32_t), bool (*kOther)(char32_t)>
Value CaseMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a question about a text", arguments, {});
  runtime.SpendBytes(receiver.text().size());
  bool found = false;
  for (size_t position = 0; position < receiver.text().size();) {
    const char32_t code_point = NextCodePoint(receiver.text(), &position);
    if (kOther(code_point) || IsTitle(code_point)) return Value::Bool(false);
    found |= kWanted(code_point);
  }
  return Value::Bool(found);
}

bool IsAlphanumeric(char32_t c) { return IsLetter(c) || IsNumeric(c); }
bool IsAscii(char32_t c) { return c < 0x80; }

Value IsAsciiMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return receiver.text().empty() ? Value::Bool(true) : AllMethod<IsAscii>(runtime, receiver, arguments);
}

Value IsPrintableMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return receiver.text().empty() ? Value::Bool(true) : AllMethod<IsPrintable>(runtime, receiver, arguments);
}

constexpr std::pair<std::string_view, Function> kMethods[] = {
    {"capitalize", ConvertMethod<Capitalize>},
    {"casefold", ConvertMethod<CaseFold>},
    {"center", CenterMethod},
    {"encode", EncodeMethod},
    {"expandtabs", ExpandTabsMethod},
    {"format", FormatMethod},
    {"isalnum", AllMethod<IsAlphanumeric>},
    {"isalpha", AllMethod<IsLetter>},
    {"isascii", IsAsciiMethod},
    {"isdecimal", AllMethod<IsDecimalDigit>},
    {"isdigit", AllMethod<IsDigit>},
    {"islower", CaseMethod<IsLower, IsUpper>},
    {"isnumeric", AllMethod<IsNumeric>},
    {"isprintable", IsPrintableMethod},
    {"isspace", AllMethod<IsSpace>},
    {"istitle", IsTitleMethod},
    {"isupper", CaseMethod<IsUpper, IsLower>},
    {"join", JoinMethod},
    {"ljust", LeftJustifyMethod},
    {"lower", ConvertMethod<ToLower>},
    {"lstrip", LeftStripMethod},
    {"removeprefix", RemovePrefixMethod},
    {"removesuffix", RemoveSuffixMethod},
    {"rjust", RightJustifyMethod},
    {"rstrip", RightStripMethod},
    {"strip", StripMethod},
    {"swapcase", ConvertMethod<SwapCase>},
    {"title", ConvertMethod<ToTitle>},
    {"upper", ConvertMethod<ToUpper>},
    {"zfill", ZeroFillMethod},
};

}  // namespace

Function FindTextMethod(std::string_view name) {
  const auto method =
      std::find_if(std::begin(kMethods), std::end(kMethods), [&](const auto& entry) { return entry.first == name; });
  return method == std::end(kMethods) ? FindTextSearchMethod(name) : method->second;
}

}  // namespace latentd::jinja

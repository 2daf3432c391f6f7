#include "jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/code_points.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

constexpr int64_t kMaxWidth = 100'000;
constexpr int64_t kMaxPrecision = 1'000;

bool IsAlign(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

int64_t ReadNumber(Runtime& runtime, std::string_view text, size_t* position, int64_t limit) {
  int64_t number = 0;
  for (; *position < text.size() && text[*position] >= '0' && text[*position] <= '9'; ++*position) {
    number = number * 10 + (text[*position] - '0');
    if (number > limit) {
      runtime.Fail(absl::StrCat("a width or precision in a format is above ", limit));
      return 0;
    }
  }
  return number;
}

std::string FloatDigits(double magnitude, const FormatSpec& spec) {
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  const double scaled = spec.type == '%' ? magnitude * 100.0 : magnitude;
  char conversion = 'f';
  if (spec.type == 'e' || spec.type == 'E' || spec.type == 'g' || spec.type == 'G') conversion = spec.type;
  if (spec.type == '\0') conversion = 'g';
  const char format[] = {'%', '.', '*', conversion, '\0'};
  const int length = std::snprintf(nullptr, 0, format, precision, scaled);
  std::string digits(static_cast<size_t>(length), '\0');
  std::snprintf(digits.data(), digits.size() + 1, format, precision, scaled);
  return spec.type == '%' ? digits + "%" : digits;
}

std::string IntegerDigits(uint64_t magnitude, char type) {
  switch (type) {
    case 'x':
      return absl::StrFormat("%x", magnitude);
    case 'X':
      return absl::StrFormat("%X", magnitude);
    case 'o':
      return absl::StrFormat("%o", magnitude);
    case 'b':
      break;
    default:
      return absl::StrCat(magnitude);
  }
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + magnitude % 2));
    magnitude /= 2;
  } while (magnitude > 0);
  return digits;
}

void InsertCommas(std::string* digits) {
  const size_t whole = std::min(digits->find_first_not_of("0123456789"), digits->size());
  for (size_t i = whole; i > 3; i -= 3) digits->insert(i - 3, ",");
}

std::string Pad(Runtime& runtime, const FormatSpec& spec, std::string_view sign, std::string body, char align) {
  const auto length = static_cast<int64_t>(CountCodePoints(body) + sign.size());
  const auto padding = static_cast<size_t>(std::max<int64_t>(spec.width - length, 0));
  if (!runtime.ReserveText(padding * spec.fill.size() + body.size())) return "";
  const auto fill = [&](size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += spec.fill;
    return text;
  };
  if (align == '=') return absl::StrCat(std::string(sign), fill(padding), body);
  const size_t left = align == '>' ? padding : align == '^' ? padding / 2 : 0;
  return absl::StrCat(fill(left), std::string(sign), body, fill(padding - left));
}

bool IsFloatType(char type) { return type != '\0' && std::string_view("eEfFgG%").find(type) != std::string_view::npos; }

std::string FormatNumber(Runtime& runtime, const Value& value, const FormatSpec& spec) {
  std::string digits;
  bool negative = false;
  if (value.type() == Type::kFloat || IsFloatType(spec.type)) {
    const double number = value.number();
    negative = std::signbit(number) && !std::isnan(number);
    const bool plain = spec.type == '\0' && spec.precision < 0;
    digits = plain ? FloatToText(std::fabs(number)) : FloatDigits(std::fabs(number), spec);
  } else {
    const int64_t number = value.integral();
    negative = number < 0;
    const auto bits = static_cast<uint64_t>(number);
    digits = IntegerDigits(negative ? 0 - bits : bits, spec.type);
  }
  if (spec.has_comma) InsertCommas(&digits);
  const std::string_view sign = negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  return Pad(runtime, spec, sign, std::move(digits), spec.align == '\0' ? (spec.zero_padded ? '=' : '>') : spec.align);
}

}  // namespace

FormatSpec ParseFormatSpec(Runtime& runtime, std::string_view text) {
  FormatSpec spec;
  size_t i = 0;
  bool has_fill = false;
  if (!text.empty()) {
    size_t second = 0;
    NextCodePoint(text, &second);
    if (second < text.size() && IsAlign(text[second])) {
      spec.fill = text.substr(0, second);
      has_fill = true;
      spec.align = text[second];
      i = second + 1;
    } else if (IsAlign(text[0])) {
      spec.align = text[0];
      i = 1;
    }
  }
  if (i < text.size() && (text[i] == '+' || text[i] == '-' || text[i] == ' ')) {
    spec.sign = text[i++];
    spec.has_sign = true;
  }
  if (i < text.size() && text[i] == '0') {
    spec.zero_padded = true;
    if (!has_fill) spec.fill = "0";
    ++i;
  }
  spec.width = ReadNumber(runtime, text, &i, kMaxWidth);
  if (i < text.size() && text[i] == ',') {
    spec.has_comma = true;
    ++i;
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    spec.precision = ReadNumber(runtime, text, &i, kMaxPrecision);
  }
  if (i < text.size()) spec.type = text[i++];
  if (i < text.size() ||
      std::string_view(std::string_view("\0sdxXobeEfFgG%", 14)).find(spec.type) == std::string::npos) {
    runtime.FailNotImplemented(absl::StrFormat("the format specification '%s'", text));
  }
  return spec;
}

bool SuitsFormatSpec(const Value& value, const FormatSpec& spec) {
  const bool is_plain = spec.type == '\0';
  if (value.is_text()) {
    return (is_plain || spec.type == 's') && !spec.has_sign && !spec.has_comma && spec.align != '=';
  }
  if (spec.type == 's') return false;
  if (value.type() == Type::kFloat) return is_plain || IsFloatType(spec.type);
  return value.is_integral() && (IsFloatType(spec.type) || spec.precision < 0);
}

std::string ApplyFormatSpec(Runtime& runtime, const Value& value, const FormatSpec& spec) {
  if (runtime.failed()) return "";
  const bool wants_number = spec.type != '\0' && spec.type != 's';
  if (value.is_number() && (wants_number || (spec.type == '\0' && value.type() != Type::kBool))) {
    if (value.type() == Type::kFloat && !IsFloatType(spec.type) && spec.type != '\0') {
      runtime.Fail(absl::StrFormat("format '%c' needs an integer, found a float", spec.type));
      return "";
    }
    return FormatNumber(runtime, value, spec);
  }
  if (wants_number) {
    runtime.Fail(absl::StrFormat("format '%c' needs a number, found %s", spec.type, TypeName(value)));
    return "";
  }
  std::string text = ToText(runtime, value);
  if (spec.precision >= 0) text.resize(ByteOffset(text, static_cast<size_t>(spec.precision)));
  return Pad(runtime, spec, "", std::move(text), spec.align == '\0' || spec.align == '=' ? '<' : spec.align);
}

}  // namespace latentd::jinja

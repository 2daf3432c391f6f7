#include "jinja/string_literal.h"

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "jinja/code_points.h"

namespace latentd::jinja {
namespace {

// The character that a one-letter escape stands for, 0 when there is none.
char SimpleEscape(char letter) {
  switch (letter) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return letter;
    default:
      return '\0';
  }
}

// Value of up to `max_digits` digits of `base` at the start of `text`; `*length` gets how many there are.
char32_t ReadDigits(std::string_view text, char32_t base, size_t max_digits, size_t* length) {
  char32_t value = 0;
  for (*length = 0; *length < max_digits && *length < text.size(); ++*length) {
    const char c = text[*length];
    char32_t digit = base;
    if (c >= '0' && c <= '9') digit = static_cast<char32_t>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<char32_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') digit = static_cast<char32_t>(c - 'A' + 10);
    if (digit >= base) break;
    value = value * base + digit;
  }
  return value;
}

size_t HexDigits(char letter) { return letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0; }

}  // namespace

absl::StatusOr<std::string> Unescape(std::string_view literal) {
  std::string text;
  size_t i = 0;
  while (i < literal.size()) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      text.push_back(literal[i++]);
      continue;
    }
    const char letter = literal[i + 1];
    size_t length = 0;
    if (letter == '\n') {
      i += 2;
    } else if (const char simple = SimpleEscape(letter); simple != '\0') {
      text.push_back(simple);
      i += 2;
    } else if (const size_t digits = HexDigits(letter); digits > 0) {
      const char32_t code_point = ReadDigits(literal.substr(i + 2), 16, digits, &length);
      if (length < digits) {
        return absl::InvalidArgumentError(absl::StrCat("expected ", digits, " hexadecimal digits after '\\",
                                                       std::string(1, letter), "', found ", length));
      }
      if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
        return absl::InvalidArgumentError("expected an escape of a Unicode character, found a surrogate or more");
      }
      AppendCodePoint(code_point, &text);
      i += 2 + digits;
    } else if (const char32_t octal = ReadDigits(literal.substr(i + 1), 8, 3, &length); length > 0) {
      AppendCodePoint(octal, &text);
      i += 1 + length;
    } else if (letter == 'N') {
      return absl::InvalidArgumentError("an escape \\N with the name of a character is not implemented here");
    } else {
      text.push_back('\\');  // An unknown escape is no escape.
      ++i;
    }
  }
  return text;
}

}  // namespace latentd::jinja

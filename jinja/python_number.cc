#include "jinja/python_number.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include <absl/strings/numbers.h>

#include "jinja/code_points.h"

namespace latentd::jinja {
namespace {

// The text in ASCII, without white space around it. Nothing where that is not possible.
std::optional<std::string> AsciiOf(std::string_view text) {
  text = StripLeft(StripRight(text));
  std::string ascii;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = NextCodePoint(text, &position);
    if (c < 0x80) {
      ascii += static_cast<char>(c);
    } else if (IsDecimalDigit(c)) {
      ascii += static_cast<char>('0' + DecimalDigitValue(c));
    } else {
      return std::nullopt;
    }
  }
  return ascii;
}

bool IsDigitAt(std::string_view text, size_t position, int64_t base) {
  if (position >= text.size()) return false;
  const char c = text[position];
  const int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                             : 99;
  return digit < base;
}

// Takes underscores away. False where one does not stand between two digits.
bool JoinDigits(std::string* text, int64_t base) {
  std::string joined;
  for (size_t i = 0; i < text->size(); ++i) {
    if ((*text)[i] != '_') {
      joined += (*text)[i];
    } else if (i == 0 || !IsDigitAt(*text, i - 1, base) || !IsDigitAt(*text, i + 1, base)) {
      return false;
    }
  }
  *text = std::move(joined);
  return true;
}

}  // namespace

PythonInteger ReadPythonInteger(std::string_view text, int64_t base) {
  std::optional<std::string> ascii = AsciiOf(text);
  if (!ascii || base < 2 || base > 36) return {};
  const bool is_negative = ascii->starts_with("-");
  if (is_negative || ascii->starts_with("+")) ascii->erase(0, 1);
  const char prefix = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (prefix != '\0' && ascii->size() > 2 && (*ascii)[0] == '0' && ((*ascii)[1] | 0x20) == prefix) {
    ascii->erase(0, (*ascii)[2] == '_' ? 3 : 2);
  }
  if (!JoinDigits(&*ascii, base) || ascii->empty() || ascii->front() == '-') return {};
  const std::string signed_text = (is_negative ? "-" : "") + *ascii;
  int64_t value = 0;
  const char* const last = signed_text.data() + signed_text.size();
  const auto [end, error] = std::from_chars(signed_text.data(), last, value, static_cast<int>(base));
  if (end != last) return {};
  if (error == std::errc::result_out_of_range) return {.value = {}, .is_too_long = true};
  return error == std::errc() ? PythonInteger{.value = value} : PythonInteger{};
}

std::optional<double> ReadPythonFloat(std::string_view text) {
  std::optional<std::string> ascii = AsciiOf(text);
  if (!ascii || !JoinDigits(&*ascii, 10)) return std::nullopt;
  std::string_view rest = *ascii;
  if (rest.starts_with("-") || rest.starts_with("+")) rest.remove_prefix(1);
  const std::string word = ToLower(rest);
  const bool is_word = word == "inf" || word == "infinity" || word == "nan";
  if (!is_word && rest.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double value = 0.0;
  if (!absl::SimpleAtod(*ascii, &value)) return std::nullopt;
  return value;
}

}  // namespace latentd::jinja

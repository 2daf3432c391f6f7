// Numbers of flags: the whole text must be one, within the type's range. CLI11 alone wraps and saturates.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

namespace latentd {

template <class Number>
bool IsWholly(const std::string& text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

template <class Unsigned>
CLI::Validator Whole() {
  return CLI::Validator(
      [](std::string& text) {
        Unsigned number = 0;
        if (IsWholly(text, &number)) return std::string();
        return "expected a whole number from 0 to " + std::to_string(std::numeric_limits<Unsigned>::max()) +
               ", found \"" + text + "\"";
      },
      "");
}

inline CLI::Validator SecondsUpToAYear() {
  return CLI::Validator(
      [](std::string& text) {
        constexpr double kYear = 31'536'000.0;
        double number = 0.0;
        if (IsWholly(text, &number) && number >= 0.0 && number <= kYear) return std::string();
        return "expected seconds from 0 to 31536000, found \"" + text + "\"";
      },
      "");
}

}  // namespace latentd

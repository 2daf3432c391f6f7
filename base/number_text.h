// Numbers as every message prints them: the shortest text that reads back as the same number, so that no two numbers
// look alike. A float has fewer digits than the double of the same value: print it as what it is.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <string>

namespace latentd {

// Without an exponent where that is the plain way to write it: 86400 and 0.0001, but 1e-38 and 3e+38.
template <std::floating_point Number>
std::string NumberText(Number number) {
  const Number size = std::abs(number);
  const bool is_plain = number == 0 || (size >= static_cast<Number>(1e-5) && size < static_cast<Number>(1e15));
  const std::chars_format format = is_plain ? std::chars_format::fixed : std::chars_format::scientific;
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), number, format).ptr};
}

template <std::integral Number>
std::string NumberText(Number number) {
  return std::to_string(number);
}

}  // namespace latentd

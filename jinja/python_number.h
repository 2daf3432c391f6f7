// Texts as numbers, as Python's int and float read them: white space around, underscores between digits, the digits of
// any script.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace latentd::jinja {

struct PythonInteger {
  std::optional<int64_t> value;  // none: the text is no integer of that base
  bool is_too_long = false;      // it is one, of more than 64 bits
};
PythonInteger ReadPythonInteger(std::string_view text, int64_t base);

std::optional<double> ReadPythonFloat(std::string_view text);

}  // namespace latentd::jinja

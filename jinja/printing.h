// Values as text: Python's str, repr and json.dumps.
#pragma once

#include <string>
#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

// str(value), which is what `{{ value }}` prints.
std::string ToText(Runtime& runtime, const Value& value);
// Appends str(value), traced.
void AppendText(Runtime& runtime, const Value& value, TracedText* out);
// repr(value): strings are quoted and escaped.
std::string ToRepr(Runtime& runtime, const Value& value);
// Python's shortest text that reads back as the same number.
std::string FloatToText(double value);

struct JsonStyle {
  bool ascii_only = false;  // other characters as \u escapes
  bool sort_keys = false;
  bool multiple_lines = false;
  std::string indent;  // of each level, for multiple lines
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// json.dumps(value); fails the rendering for values that JSON does not have.
std::string ToJson(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace latentd::jinja

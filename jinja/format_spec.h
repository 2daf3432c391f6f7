// The layout of one formatted value: [[fill]align][sign][#][0][width][,][.precision][type] and how it is applied.
#pragma once

#include <string>
#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

struct FormatSpec {
  std::string fill = " ";  // one code point
  char align = '\0';       // < > ^ = or none given
  char sign = '-';
  bool has_sign = false;
  bool zero_padded = false;
  bool has_comma = false;
  int64_t width = 0;
  int64_t precision = -1;  // none given
  char type = '\0';
};

// Fails the rendering on a text that is no specification.
FormatSpec ParseFormatSpec(Runtime& runtime, std::string_view text);
// Whether Python's format takes the specification for this value, which is a text or a number.
bool SuitsFormatSpec(const Value& value, const FormatSpec& spec);
std::string ApplyFormatSpec(Runtime& runtime, const Value& value, const FormatSpec& spec);

}  // namespace latentd::jinja

// Python's two ways to fill values into text: '%s' % value and '{}'.format(value).
#pragma once

#include <string_view>

#include "engine/text/template/callable.h"

namespace latentd::jinja {

// `values` is a tuple, a dict for %(name)s, or a single value.
Value FormatPercent(Runtime& runtime, std::string_view format, const Value& values);

// Fields {}, {0}, {name} with .attributes and [items], !r and !s, and a format specification.
Value FormatBraces(Runtime& runtime, std::string_view format, const Arguments& arguments);

}  // namespace latentd::jinja

// Python's two ways to fill values into text: '%s' % value and '{}'.format(value).
#pragma once

#include "jinja/value.h"

namespace latentd::jinja {

// `format` is text; `values` is a tuple, a dict for %(name)s, or a single value.
Value FormatPercent(Runtime& runtime, const Value& format, const Value& values);

// Fields {}, {0}, {name} with .attributes and [items], !r and !s, and a format specification.
Value FormatBraces(Runtime& runtime, const Value& format, const Arguments& arguments);

}  // namespace latentd::jinja

// The tests of `value is name(argument)`, by name; they return booleans.
#pragma once

#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

// Null when there is no such test.
Function FindTest(std::string_view name);

}  // namespace latentd::jinja

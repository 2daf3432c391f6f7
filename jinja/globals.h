// The functions that a template may call by name: Jinja's range, dict and namespace, Hugging Face's raise_exception and
// strftime_now.
#pragma once

#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

// Null when there is no such function.
Function FindGlobal(std::string_view name);

}  // namespace latentd::jinja

// The functions that a template may call by name: Jinja's range, dict and namespace, Hugging Face's raise_exception and
// strftime_now.
#pragma once

#include <string_view>

#include "jinja/callable.h"

namespace latentd::jinja {

// Null when there is no such function.
Function FindGlobal(std::string_view name);

// A cycler looks like a namespace, but prints in another way and takes no attributes.
bool IsCycler(const Value& value);

}  // namespace latentd::jinja

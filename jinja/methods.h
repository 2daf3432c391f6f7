// The methods of Python's strings, lists and dicts that templates may call, by name.
#pragma once

#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

// Each returns null when there is no such method.
Function FindTextMethod(std::string_view name);
Function FindTextSearchMethod(std::string_view name);  // a part of the above
Function FindListMethod(std::string_view name);
Function FindGrowingListMethod(std::string_view name);  // of lists that can grow, beside the above
Function FindObjectMethod(std::string_view name);
Function FindLoopMethod(std::string_view name);

// Methods that change a list or a dict exist in Python but are forbidden in templates.
bool IsForbiddenListMethod(std::string_view name);
bool IsForbiddenObjectMethod(std::string_view name);
// A method that Python's type has under this name, and this interpreter does not.
bool IsMissingAttribute(const Value& value, std::string_view name);

}  // namespace latentd::jinja

// The filters of `value | name(arguments)`, by name.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace latentd::jinja {

// Null when there is no such filter.
Function FindFilter(std::string_view name);
// One that Jinja has beside those.
bool IsFilterOfJinja(std::string_view name);

// The parts of the table; each is searched in turn.
Function FindTextFilter(std::string_view name);
Function FindSequenceFilter(std::string_view name);
Function FindSelectionFilter(std::string_view name);

// In ascending order of their keys, which stand first.
std::vector<Value> SortedByKey(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed);

}  // namespace latentd::jinja

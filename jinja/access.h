// Items, attributes, slices and iteration of values, in the order in which Jinja's sandbox looks for them.
#pragma once

#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

// value[key]: an item first, then a method. Undefined when there is neither.
Value GetItem(Runtime& runtime, const Value& value, const Value& key);
// value.name: a method first, then an item.
Value GetAttribute(Runtime& runtime, const Value& value, std::string_view name);
// value[start:stop:step]; none where a part is left out. Fails the rendering for values without slices.
Value GetSlice(Runtime& runtime, const Value& value, const Value& start, const Value& stop, const Value& step);

// The items of a loop over the value; fails the rendering, and returns nothing, for values that are not iterable.
std::vector<Value> Iterate(Runtime& runtime, const Value& value);
// The same as a list or tuple value; a list is itself, not a copy.
Value IterateAsList(Runtime& runtime, const Value& value);
bool IsIterable(const Value& value);
// Whether it has a length and items by index.
bool IsSequence(const Value& value);
// len(value), or fails.
int64_t Length(Runtime& runtime, const Value& value);

}  // namespace latentd::jinja

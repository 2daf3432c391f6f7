// Truth, equality, order and membership, as Python defines them.
#pragma once

#include <optional>
#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

bool IsTrue(const Value& value);
// Values of its kind have operators in Python that are not implemented here.
bool HasUnknownOperators(const Value& value);

// False, and failed(), when the budget runs out: shared lists can stand for exponentially large ones.
bool Equal(Runtime& runtime, const Value& left, const Value& right);

// Negative, zero or positive. Fails the rendering, naming `operation`, for types that have no order.
int Compare(Runtime& runtime, const Value& left, const Value& right, std::string_view operation = "<");

// `item in container`
bool Contains(Runtime& runtime, const Value& container, const Value& item);

}  // namespace latentd::jinja

// Python's operators on values. Integers have 64 bits: a result beyond them fails the rendering.
#pragma once

#include <string_view>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

// operation: + - * / // % **
Value Calculate(Runtime& runtime, std::string_view operation, const Value& left, const Value& right);
// operation: + -
Value ApplySign(Runtime& runtime, std::string_view operation, const Value& operand);
// Text of `piece`, `times` times.
Value RepeatText(Runtime& runtime, const TracedText& piece, int64_t times);

}  // namespace latentd::jinja

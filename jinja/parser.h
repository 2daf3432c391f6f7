// Tokens to a syntax tree, by recursive descent. Nesting is bounded, so no template overflows the stack.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>

#include "jinja/ast.h"

namespace latentd::jinja {

// Templates larger than this are refused; the largest published ones have about 10 kB.
inline constexpr size_t kMaxSourceBytes = size_t{1} << 20;

// INVALID_ARGUMENT with the line, what was expected and what was found. Unknown filters and tests are errors too,
// except directly inside an `if`, where they are errors only when reached.
absl::StatusOr<Body> Parse(std::string_view source);

}  // namespace latentd::jinja

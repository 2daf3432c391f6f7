// JSON text to values: messages and tools on their way into a template, and the filter from_json.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>

#include "jinja/value.h"

namespace latentd::jinja {

// Keeps the order of keys; of equal keys the last value counts. INVALID_ARGUMENT for a text that is not JSON or nests
// deeper than kMaxValueDepth. Time and memory are linear in the text.
absl::StatusOr<Value> ParseJson(std::string_view text);

}  // namespace latentd::jinja

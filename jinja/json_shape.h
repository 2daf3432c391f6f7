// What can be said of a JSON text without making values of it, which take many times its bytes.
#pragma once

#include <cstddef>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd::jinja {

struct JsonShape {
  bool is_object = false;
  int depth = 0;          // how deep lists and objects nest; 0 for scalars
  size_t num_values = 0;  // however deep, and names of objects
};

// Of valid UTF-8. INVALID_ARGUMENT for what ParseJson refuses, and with its words: what has a shape can be parsed.
// Takes one pass and no memory.
absl::StatusOr<JsonShape> ShapeOfJson(std::string_view text);

}  // namespace latentd::jinja

// The shape of a JSON text, found without making values of it, which take many times its bytes.
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

// `text` is valid UTF-8. INVALID_ARGUMENT for texts that ParseJson refuses, and with its words: a text that has a shape
// can be parsed. Takes one pass and no memory.
absl::StatusOr<JsonShape> ShapeOfJson(std::string_view text);

}  // namespace latentd::jinja

// Escapes of quoted strings in template source, as in Python.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd::jinja {

// `literal` is the text between the quotes.
absl::StatusOr<std::string> Unescape(std::string_view literal);

}  // namespace latentd::jinja

// Finds filters and tests that do not exist, when a template is loaded and not when a conversation first needs them.
#pragma once

#include <absl/status/status.h>

#include "jinja/ast.h"

namespace latentd::jinja {

// What stands directly inside an `if` is exempt, as in Jinja: templates ask there for what other renderers have.
absl::Status CheckNamesAreKnown(const Body& body);

}  // namespace latentd::jinja

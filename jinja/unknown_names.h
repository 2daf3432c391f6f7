// Finds filters and tests that do not exist, when a template is loaded and not when a conversation first needs them.
#pragma once

#include <absl/status/status.h>

#include "jinja/ast.h"

namespace latentd::jinja {

// Names directly inside an `if` are exempt, as in Jinja: templates ask there for the features of other renderers.
absl::Status CheckNamesAreKnown(const Body& body);

}  // namespace latentd::jinja

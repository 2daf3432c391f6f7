// What --served-model-name says. A pure function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

// The names between the commas, each once, of 1 to 128 bytes of printable ASCII; none where `text` is empty.
absl::StatusOr<std::vector<std::string>> ParseServedNames(std::string_view text);

}  // namespace latentd

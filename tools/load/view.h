// Debian's Abseil has a string_view of its own; its functions take no std::string_view.
#pragma once

#include <string_view>

#include <absl/strings/string_view.h>

namespace latentd {

inline absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view View(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace latentd
